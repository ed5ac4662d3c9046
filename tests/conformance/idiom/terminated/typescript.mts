import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

async function slow() {
  console.log("> waiting");
  await line();
}

await using client = await connect();

await client.flow("etl", async (run) => {
  run.log.info("> begin");
  await run.task("slow", slow);
});
