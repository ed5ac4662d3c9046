import { connect, type Run } from "flowspan";

function fetchRows(run: Run) {
  run.log.info(`> attempt ${run.attempt}`);
  if (run.attempt < 3) throw new Error("not yet");
  return run.attempt;
}

await using client = await connect();

const attempt = await client.flow("etl", (run) =>
  run.task("fetch", { retries: 2, retryDelayMs: 50 }, fetchRows),
);
console.log(`> done after ${attempt}`);
