/** Each program of the README, in a new project with the packed package. */

import { type ExecFileOptions, execFile, execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/index.js";
import { Service } from "../support/service.js";
import { collect } from "../support/wait.js";

const FOLDER = fileURLToPath(new URL("../../", import.meta.url));
const TOOLS = join(FOLDER, "node_modules");
const README = readFileSync(join(FOLDER, "README.md"), "utf8");
const PROGRAMS = [...README.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] as string);
const HTTP_ADDRESS = "http://127.0.0.1:4680";
const LIMIT_MS = 60_000;

const service = new Service();
const home = mkdtempSync(join(tmpdir(), "flowspan-readme-"));
const project = join(home, "project");
// npm's own cache, so that little is downloaded; nothing else of the user's home.
const cache = execFileSync("npm", ["config", "get", "cache"], { encoding: "utf8" }).trim();
const env = { PATH: process.env.PATH, HOME: home, npm_config_cache: cache, NO_COLOR: "1" };

async function run(program: string, args: string[], options: ExecFileOptions = {}) {
  const settings = { cwd: project, env, timeout: LIMIT_MS, ...options };
  const { stdout } = await promisify(execFile)(program, args, settings);
  return String(stdout);
}

beforeAll(async () => {
  await service.start();
  mkdirSync(project);
  // `npm test` has built it, and another build would take it away from tests that run beside this one.
  const options = ["--silent", "--ignore-scripts", "--pack-destination", home];
  await run("npm", ["pack", ...options], { cwd: FOLDER });
  const tarball = readdirSync(home).find((name) => name.endsWith(".tgz"));
  // The packages of the README besides flowspan itself come with the tools of this folder.
  const pino = JSON.parse(readFileSync(join(TOOLS, "pino/package.json"), "utf8")).version;
  writeFileSync(join(project, "package.json"), "{}");
  const flags = ["--prefer-offline", "--no-audit", "--no-fund", "--silent"];
  await run("npm", ["install", ...flags, join(home, tarball ?? ""), `pino@${pino}`]);
  cpSync(join(TOOLS, "@types/node"), join(project, "node_modules/@types/node"), {
    recursive: true,
  });
  cpSync(join(TOOLS, "undici-types"), join(project, "node_modules/undici-types"), {
    recursive: true,
  });
  PROGRAMS.forEach((text, index) => {
    writeFileSync(
      join(project, `program${index}.mts`),
      text.replace(HTTP_ADDRESS, service.httpAddress),
    );
  });
}, 3 * LIMIT_MS);

afterAll(async () => {
  await service.stop();
  rmSync(home, { recursive: true, force: true });
});

test("they are typed, also if the types of packages are checked", async () => {
  const compilerOptions = {
    target: "ES2022",
    lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable"],
    module: "NodeNext",
    strict: true,
    noEmit: true,
  };
  const config = { compilerOptions, include: ["*.mts"] };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
  const output = await run(join(TOOLS, ".bin/tsc"), ["-p", "."]).catch(
    (error: { stdout: string }) => error.stdout,
  );
  expect(output).toBe("");
});

test(
  "they run",
  async () => {
    expect(PROGRAMS.length).toBeGreaterThanOrEqual(5);
    const outputs: string[] = [];
    for (const index of PROGRAMS.keys()) {
      const loader = pathToFileURL(join(TOOLS, "tsx/dist/esm/index.mjs")).href;
      const args = ["--import", loader, `program${index}.mts`];
      const environ = { ...env, FLOWSPAN_ADDRESS: service.address };
      outputs.push(await run(process.execPath, args, { env: environ }));
    }
    expect(outputs[0]).toBe("2 rows\n");
    await using client = await connect({ address: service.address, environ: {} });
    const runs = await collect(client.flowRuns.list({}, { oldestFirst: true }));
    expect(runs.map((each) => [each.flowName, each.state.type])).toEqual([
      ["etl", "COMPLETED"],
      ["logs", "COMPLETED"],
      ["calls", "COMPLETED"],
      ["serve", "COMPLETED"],
      ["report", "CANCELLED"],
    ]);
    expect(runs[3]?.parentRunId).toBe(runs[2]?.id);
    const logs = await collect(client.logs.list(runs[1]?.id ?? ""));
    expect(logs.map((each) => each.message)).toEqual([
      "stored with the run",
      "this too",
      "and this",
    ]);
    // The last program prints those at the top.
    for (const { flowName, name, parentRunId } of runs) {
      expect(outputs.at(-1)?.includes(`${flowName} ${name}`)).toBe(parentRunId === "");
    }
  },
  3 * LIMIT_MS,
);

test("the commands of the README exist", () => {
  const scripts = JSON.parse(readFileSync(join(FOLDER, "package.json"), "utf8")).scripts;
  for (const [, script] of README.matchAll(/`npm run (\w+)`/g)) {
    expect(scripts).toHaveProperty(script as string);
  }
});
