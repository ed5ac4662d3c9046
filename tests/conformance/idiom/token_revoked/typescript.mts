import { createInterface } from "node:readline";
import { connect } from "flowspan";

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();

await using client = await connect();

await client.flow("etl", async (run) => {
  for (const name of ["first", "second"]) {
    await run.task(name, () => {});
    console.log(">", name);
    await lines.next();
  }
  await run.task("third", () => {});
});
input.close();
