import { setTimeout as sleep } from "node:timers/promises";
import { connect, RunCancelledError } from "flowspan";
import { line } from "../../program/program.mjs";

const HOUR_MS = 3_600_000;

await using client = await connect();

try {
  await client.flow("etl", async (run) => {
    console.log("> waiting");
    await sleep(HOUR_MS, undefined, { signal: run.signal });
  });
} catch (error) {
  if (!(error instanceof RunCancelledError)) throw error;
  console.log("> cancelled");
}
await line();
await client.flow("other", () => {});
