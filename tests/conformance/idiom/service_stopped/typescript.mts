import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

await using client = await connect();

await client.flow("etl", async (run) => {
  run.log.info("> before");
  await run.task("first", () => console.log("> first"));
  await run.task("second", line);
  run.log.info("> after");
});
