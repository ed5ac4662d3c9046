import { connect, FlowspanError } from "flowspan";

await using client = await connect();

try {
  await client.variables.set("city", "Paris");
} catch (error) {
  if (!(error instanceof FlowspanError)) throw error;
  console.log(">", error.code, error.reason, error.advice ? "advice" : "no advice");
}
const first = await client.variables.list().next();
console.log(">", first.done ? "none" : "some");
