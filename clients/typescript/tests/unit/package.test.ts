/** The shape of the package. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const FOLDER = fileURLToPath(new URL("../../", import.meta.url));
const IMPORT = /(?:from|import)\s*\(?\s*"([^"]+)"/g;

/** Return all modules that a module imports, directly or not. */
function closure(entry: string): Set<string> {
  const found = new Set<string>();
  const visit = (file: string) => {
    for (const [, name] of readFileSync(file, "utf8").matchAll(IMPORT)) {
      if (name === undefined || found.has(name)) continue;
      if (!name.startsWith(".")) {
        found.add(name);
        continue;
      }
      const path = join(dirname(file), name.replace(/\.js$/, ".ts"));
      if (found.has(path)) continue;
      found.add(path);
      visit(path);
    }
  };
  visit(join(FOLDER, entry));
  return found;
}

test("the entry of browsers needs nothing of Node", () => {
  const names = [...closure("src/browser.ts")];
  expect(names.length).toBeGreaterThan(30);
  expect(names.filter((name) => name.startsWith("node:") || name.endsWith("connect-node"))).toEqual(
    [],
  );
  // The check itself finds such imports.
  expect(closure("src/index.ts")).toContain("node:async_hooks");
});

test("the generated stubs match the protos", () => {
  const folder = join(FOLDER, "../../.build/typescript-gen");
  execFileSync(join(FOLDER, "generate.sh"), [folder]);
  const diff = execFileSync("diff", ["-r", "-q", join(FOLDER, "src/gen"), folder], {
    encoding: "utf8",
  });
  expect(diff).toBe("");
});

test("the lock names no registry", () => {
  const lock = readFileSync(join(FOLDER, "package-lock.json"), "utf8");
  expect(lock).not.toMatch(/"resolved":|https?:\/\/[^"]*registry/);
});

test("CommonJS programs can require it", () => {
  const code = `const { connect } = require("flowspan"); console.log(typeof connect)`;
  const output = execFileSync(process.execPath, ["--no-warnings", "-e", code], {
    cwd: FOLDER,
    encoding: "utf8",
  });
  expect(output.trim()).toBe("function");
});
