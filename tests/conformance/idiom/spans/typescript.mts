import { connect, type Run } from "flowspan";

function fetchRows(run: Run) {
  if (run.attempt === 1) throw new Error("not yet");
}

function hopeless() {
  throw new TypeError("no");
}

await using client = await connect();

const etl = client.flow("etl", async (run) => {
  await run.task("fetch", { retries: 1, retryDelayMs: 50 }, fetchRows);
  await run.task("hopeless", hopeless);
});
await etl.catch(() => {});
