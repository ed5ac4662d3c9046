import { connect } from "flowspan";

await using client = await connect();

await client.flow("etl", async (run) => {
  run.log.info("> begin");
  await run.task("fetch", () => {});
});
for await (const run of client.flowRuns.list()) console.log(">", run.flowName, run.state.type);
