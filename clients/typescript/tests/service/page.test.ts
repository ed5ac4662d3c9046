/** The example page in a real browser, if there is one: Chromium, or the one of FLOWSPAN_TEST_BROWSER. */

import { existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, connect } from "../../src/index.js";
import { Service } from "../support/service.js";
import { until } from "../support/wait.js";

const FOLDER = fileURLToPath(new URL("../../", import.meta.url));
const BROWSER = [
  process.env.FLOWSPAN_TEST_BROWSER ?? "",
  "/usr/bin/chromium-headless-shell",
  "/usr/bin/chromium",
  "/usr/bin/google-chrome",
].find((path) => path !== "" && existsSync(path));

describe.runIf(BROWSER)("the page", () => {
  let service: Service;
  let client: Client;
  let server: Server;
  let browser: Browser;
  let page: Page;
  let script: string;

  beforeAll(async () => {
    const bundle = await build({
      entryPoints: [`${FOLDER}examples/page/page.ts`],
      bundle: true,
      format: "esm",
      write: false,
      alias: { "flowspan/browser": `${FOLDER}src/browser.ts` },
    });
    script = bundle.outputFiles[0]?.text ?? "";
    const html = readFileSync(`${FOLDER}examples/page/index.html`, "utf8");
    server = createServer((request, response) => {
      const isScript = request.url?.startsWith("/page.js");
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? script : html);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const origin = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
    service = await new Service(["--cors-origin", origin]).start();
    client = await connect({ address: service.address, environ: {} });
    browser = await puppeteer.launch({ executablePath: BROWSER ?? "", args: ["--no-sandbox"] });
    page = await browser.newPage();
    await client.flow("before", { runName: "was-there" }, () => 1);
    await client.flush();
    await page.goto(`${origin}/?service=${encodeURIComponent(service.httpAddress)}`);
  });

  afterAll(async () => {
    await browser?.close();
    await client?.close();
    await service?.stop();
    server?.close();
  });

  function rows(): Promise<string[]> {
    return page.$$eval("#runs tr", (found) =>
      found.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ")),
    );
  }

  test("is small", () => {
    // Not minified. A page pays for what it loads.
    expect(script.length).toBeLessThan(700_000);
  });

  test("lists runs, follows them, and cancels them", async () => {
    await until(rows, (found) => found.some((row) => row.startsWith("before was-there Completed")));
    const flow = client.flow("live", { runName: "now" }, async (run) => {
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      run.signal.throwIfAborted();
    });
    const outcome = flow.catch((error: unknown) => String(error));
    await until(rows, (found) => found.some((row) => row.startsWith("live now Running")));
    await page.locator(`[id="${flow.run.id}"] button`).click();
    expect(await outcome).toMatch(/cancelled on the page/);
    await until(rows, (found) => found.some((row) => row.startsWith("live now Cancelled")));
  });

  test("reports a run", async () => {
    await page.locator("#report").click();
    await until(rows, (found) => found.some((row) => /^page \S+ Completed/.test(row)));
    for await (const run of client.flowRuns.list({ functionNames: ["page"] })) {
      expect(run.state.result?.json()).toMatch(/Chrome/);
      for await (const log of client.logs.list(run.id))
        expect(log.message).toBe("reported by a browser");
    }
  });
});
