/**
 * Renders the invoice of an order as a page, and calls the Java program `archive` with it. It reads
 * the order from its standard input, and writes the receipt to its standard output.
 *
 * The program that starts it names its run in the environment (FLOWSPAN_RUN, TRACEPARENT), so the
 * flow here is a child of that run, without any code.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { connect, type Run, RunAbortedError, RunCancelledError } from "flowspan";

interface Order {
  number: number;
  customer: string;
  currency: string;
  lines: { item: string; quantity: number; cents: number }[];
  tapeSeconds: number;
  ratesUrl: string;
}

interface Receipt {
  order: number;
  path?: string;
  sha256?: string;
}

/** Ask the Go program, over HTTP. The run that answers is below the run that asks. */
async function rateOf(run: Run, { ratesUrl, currency }: Order): Promise<number> {
  const url = `${ratesUrl}/${encodeURIComponent(currency)}`;
  const response = await fetch(url, { headers: run.headers(), signal: run.signal });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${answer.trim()}`);
  return Number(answer);
}

function page(order: Order, rate: number): string {
  const escaped = (value: string) =>
    value.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
  const money = (cents: number) => `${((cents * rate) / 100).toFixed(2)} ${order.currency}`;
  const rows = order.lines.map(
    ({ item, quantity, cents }) =>
      `<tr><td>${quantity} × ${escaped(item)}</td><td>${money(cents)}</td></tr>`,
  );
  const total = order.lines.reduce((sum, { cents }) => sum + cents, 0);
  return [
    `<!doctype html><meta charset="utf-8"><title>Invoice ${order.number}</title>`,
    `<h1>Invoice ${order.number} for ${escaped(order.customer)}</h1>`,
    `<table>${rows.join("")}</table>`,
    `<p>Total: ${money(total)}</p>\n`,
  ].join("\n");
}

/** Call the Java program. Its runs become children of the run. */
async function callArchive(run: Run, order: Order, html: string): Promise<Receipt> {
  // Without `signal: run.signal`, which would kill the program when this run is cancelled: the
  // service cancels the runs of the program as well, and it ends by itself.
  const child = spawn("archive", {
    env: { ...process.env, ...run.environ() },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => {}); // the exit code says why the program did not read it all
  child.stdin.end(JSON.stringify({ order: order.number, html, tapeSeconds: order.tapeSeconds }));
  try {
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
    if (code !== 0) throw new Error(`archive exited with ${code}`);
    return { order: order.number, ...JSON.parse(output) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    run.log.warn("the chain ends here: there is no program `archive`");
    return { order: order.number };
  }
}

async function main(): Promise<void> {
  const order = JSON.parse(await text(process.stdin)) as Order;
  await using client = await connect();
  const parameters = { order: order.number };
  const receipt = await client.flow("render", { parameters }, async (run) => {
    const html = await run.task("lay_out", async (task) => {
      const rate = await rateOf(task, order);
      task.log.info(`the invoice of order ${order.number} is in ${order.currency}, at ${rate}`);
      return page(order, rate);
    });
    return run.task("call_archive", (task) => callArchive(task, order, html));
  });
  console.log(JSON.stringify(receipt));
}

await main().catch((error: unknown) => {
  const isStopped = error instanceof RunCancelledError || error instanceof RunAbortedError;
  console.error(isStopped ? `render: ${error.message}` : error);
  process.exitCode = 1;
});
