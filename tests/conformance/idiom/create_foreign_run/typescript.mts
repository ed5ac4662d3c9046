import { createInterface } from "node:readline";
import { connect, FlowspanError } from "flowspan";

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const id: string = (await lines.next()).value;
input.close();

await using client = await connect();

try {
  await client.flowRuns.create("planned", { id, scheduledTime: new Date() });
} catch (error) {
  if (!(error instanceof FlowspanError)) throw error;
  console.log(">", error.reason);
}
const run = await client.flowRuns.get(id);
console.log(">", run.flowName, run.state.type);
