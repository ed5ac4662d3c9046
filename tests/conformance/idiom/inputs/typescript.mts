import { connect } from "flowspan";

await using client = await connect();

const count = await client.flow("etl", async (run) => {
  const load = run.task("load", () => [1, 2, 3]);
  const rows = await load;
  return run.task("clean", { inputs: { rows: load } }, () => rows.length);
});
console.log(`> ${count}`);
