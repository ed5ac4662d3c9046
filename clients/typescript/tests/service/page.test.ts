/**
 * The built client in a real browser: Chromium, or the one of FLOWSPAN_TEST_BROWSER.
 *
 * Without a browser these tests are left out, unless that variable names one.
 */

import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build } from "esbuild";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, connect } from "../../src/index.js";
import { Service } from "../support/service.js";
import { until } from "../support/wait.js";

const FOLDER = fileURLToPath(new URL("../../", import.meta.url));
const INSTALLED = [
  "/usr/bin/chromium-headless-shell",
  "/usr/bin/chromium",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const BROWSER = process.env.FLOWSPAN_TEST_BROWSER || INSTALLED.find((path) => existsSync(path));

/** Bundle a module of a page. Its `flowspan/browser` is the one in dist. */
async function bundle(entry: Pick<BuildOptions, "entryPoints" | "stdin">): Promise<string> {
  const built = await build({ ...entry, bundle: true, format: "esm", write: false });
  return built.outputFiles[0]?.text ?? "";
}

describe.runIf(BROWSER)("in a browser", () => {
  let service: Service;
  let client: Client;
  let server: Server;
  let browser: Browser;
  let origin: string;
  let script: string;

  beforeAll(async () => {
    script = await bundle({ entryPoints: [`${FOLDER}examples/page/page.ts`] });
    const html = readFileSync(`${FOLDER}examples/page/index.html`, "utf8");
    server = createServer((request, response) => {
      const isScript = request.url?.startsWith("/page.js");
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? script : html);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    origin = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    service = await new Service(["--cors-origin", origin]).start();
    client = await connect({ address: service.address, environ: {} });
    browser = await puppeteer.launch({ executablePath: BROWSER ?? "", args: ["--no-sandbox"] });
    await client.flow("before", { runName: "was-there" }, () => 1);
    await client.flush();
  });

  afterAll(async () => {
    await browser?.close();
    await client?.close();
    await service?.stop();
    server?.close();
  });

  /** Start a flow that runs until it is cancelled. */
  function live(runName: string) {
    const flow = client.flow("live", { runName }, async (run) => {
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      run.signal.throwIfAborted();
    });
    return { id: flow.run.id, outcome: flow.catch((error: unknown) => String(error)) };
  }

  describe("a page of another origin", () => {
    let page: Page;

    beforeAll(async () => {
      page = await browser.newPage();
      await page.goto(`${origin}/?service=${encodeURIComponent(service.httpAddress)}`);
    });

    function rows(): Promise<string[]> {
      return page.$$eval("#runs tr", (found) =>
        found.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ")),
      );
    }

    const row = (start: string) =>
      until(rows, (found) => found.some((each) => each.startsWith(start)));

    test("is small", () => {
      // Not minified. A page pays for what it loads.
      expect(script.length).toBeGreaterThan(10_000);
      expect(script.length).toBeLessThan(700_000);
    });

    test("lists runs, shows their changes as they happen, and cancels them", async () => {
      await row("before was-there Completed");
      const { id, outcome } = live("now");
      await row("live now Running");
      await page.locator(`[id="${id}"] button`).click();
      expect(await outcome).toMatch(/cancelled on the page/);
      await row("live now Cancelled");
    });

    test("reports a run", async () => {
      await page.locator("#report").click();
      await until(rows, (found) => found.some((each) => /^page \S+ Completed/.test(each)));
      for await (const run of client.flowRuns.list({ functionNames: ["page"] })) {
        expect(run.state.result?.json()).toMatch(/Chrome/);
        for await (const log of client.logs.list(run.id))
          expect(log.message).toBe("reported by a browser");
      }
    });

    test("shows changes again after the service was restarted", async () => {
      await service.kill();
      await service.start();
      const { id, outcome } = live("afterwards");
      await row("live afterwards Running");
      await client.flowRuns.cancel(id, "enough");
      expect(await outcome).toMatch(/enough/);
      await row("live afterwards Cancelled");
    });
  });

  test("a page of an origin that is not configured gets nothing", async () => {
    const page = await browser.newPage();
    const other = origin.replace("127.0.0.1", "localhost");
    await page.goto(`${other}/?service=${encodeURIComponent(service.httpAddress)}`);
    const status = () => page.$eval("#status", (element) => element.textContent ?? "");
    expect(await until(status, (text) => text !== "Connecting…")).toMatch(/no service answers/);
  });

  test("a page of the service itself lists and watches runs", async () => {
    const code = `
      import { connect } from "flowspan/browser";
      const client = await connect();
      const changes = (globalThis.changes = []);
      const names = new Map();
      const show = (id, state) => changes.push(names.get(id) + " " + state.name);
      for await (const item of client.watch({ flowRunsOnly: true })) {
        if (item.run !== undefined) names.set(item.run.id, item.run.name);
        if (item.kind === "run") show(item.run.id, item.run.state);
        if (item.kind === "change") show(item.transition.runId, item.transition.state);
      }`;
    const page = await browser.newPage();
    // The front page runs no scripts but this one.
    await page.setBypassCSP(true);
    await page.goto(`${service.httpAddress}/`);
    const content = await bundle({ stdin: { contents: code, resolveDir: FOLDER, loader: "js" } });
    await page.addScriptTag({ content, type: "module" });
    const changes = () =>
      page.evaluate(() => (globalThis as unknown as { changes?: string[] }).changes ?? []);
    await until(changes, (found) => found.includes("was-there Completed"));
    const { id, outcome } = live("same-origin");
    await until(changes, (found) => found.includes("same-origin Running"));
    await client.flowRuns.cancel(id, "enough");
    await outcome;
    await until(changes, (found) => found.includes("same-origin Cancelled"));
  });
});
