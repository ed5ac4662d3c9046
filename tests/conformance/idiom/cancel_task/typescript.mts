import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Run, RunCancelledError } from "flowspan";

const HOUR_MS = 3_600_000;

async function slow(run: Run) {
  console.log("> waiting");
  await sleep(HOUR_MS, undefined, { signal: run.signal });
}

await using client = await connect();

await client.flow("etl", async (run) => {
  try {
    await run.task("slow", slow);
  } catch (error) {
    if (!(error instanceof RunCancelledError)) throw error;
    console.log("> cancelled");
  }
  await run.task("after", () => console.log("> after"));
});
