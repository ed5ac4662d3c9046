import { connect, type Run } from "flowspan";

function fetchRows(run: Run) {
  throw new Error(`attempt ${run.attempt}`);
}

await using client = await connect();

const etl = client.flow("etl", (run) =>
  run.task("fetch", { retries: 1, retryDelayMs: 50 }, fetchRows),
);
await etl.catch(() => {});
