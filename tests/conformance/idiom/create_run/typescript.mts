import { connect, FlowspanError } from "flowspan";

const PLANNED = { runName: "monday's", parameters: { day: "monday" }, tags: ["later"] };
const SOME_DAY = new Date(Date.now() + 86_400_000);

await using client = await connect();

const { flowRuns } = client;
const run = await flowRuns.create("planned", { ...PLANNED, scheduledTime: SOME_DAY });
console.log("> created");
const same = { ...PLANNED, scheduledTime: SOME_DAY, id: run.id };
const again = await flowRuns.create("planned", same);
console.log(">", again.id === run.id ? "the same" : again);
try {
  await flowRuns.create("other", same);
} catch (error) {
  if (!(error instanceof FlowspanError)) throw error;
  console.log(">", error.reason);
}
await flowRuns.cancel(run.id);
console.log(">", (await flowRuns.get(run.id)).state.type);
