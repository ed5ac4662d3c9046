import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

await using client = await connect();

await client.flow("etl", async (run) => {
  console.log("> waiting");
  await line();
  run.log.info("> alive");
});
