import { connect } from "flowspan";

await using client = await connect();

await client.flow("etl", () => {});
for await (const run of client.flowRuns.list()) {
  const [, traceId] = run.traceparent.split("-");
  console.log(">", traceId, run.parentSpanId);
}
