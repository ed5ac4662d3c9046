import { connect } from "flowspan";
import { line } from "../../program/program.mjs";

async function slow() {
  console.log("> waiting");
  await line();
}

await using client = await connect();

await client.flow("etl", async (run) => {
  await run.task("fetch", () => {});
  await run.task("slow", slow);
});
