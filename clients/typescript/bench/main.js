/**
 * Figures of the client against a real service: one line of JSON for each.
 *
 *   FLOWSPAN_ADDRESS=127.0.0.1:4600 node bench/main.js [TASKS]
 *
 * - transitions_per_s: acknowledged transitions of parallel tasks, in seconds of wall time
 * - task_overhead_us: CPU time of this process for a task that does nothing
 * - task_latency_us: wall time of a task that is awaited before the next one begins
 * - call_ms: wall time of GetFlowRun
 */

import { connect } from "flowspan";

const TASKS = Number(process.argv[2] ?? 50_000);
const WIDTH = 100;
const AWAITED = 5_000;
const CALLS = 300;
const TRANSITIONS_PER_TASK = 3;

function print(figure, value, unit) {
  const rounded = Number(value.toPrecision(4));
  console.log(JSON.stringify({ client: "typescript", figure, value: rounded, unit }));
}

async function parallel(client, count) {
  await client.flow("bench", async (run) => {
    let left = count;
    const worker = async () => {
      while (left-- > 0) await run.task("nothing", () => 1);
    };
    await Promise.all(Array.from({ length: WIDTH }, worker));
  });
  await client.flush(120_000);
}

const client = await connect({ maxEvents: 1_000_000 });
await parallel(client, 2_000); // warm up

let began = performance.now();
const cpu = process.cpuUsage();
await parallel(client, TASKS);
const seconds = (performance.now() - began) / 1000;
const used = process.cpuUsage(cpu);
print("transitions_per_s", (TRANSITIONS_PER_TASK * (TASKS + 1)) / seconds, "1/s");
print("task_overhead_us", (used.user + used.system) / TASKS, "us");

await client.flow("bench", async (run) => {
  began = performance.now();
  for (let index = 0; index < AWAITED; index++) await run.task("nothing", () => 1);
  print("task_latency_us", (1000 * (performance.now() - began)) / AWAITED, "us");
});
await client.flush(120_000);

const flow = client.flow("bench", () => 1);
await flow;
await client.flush();
began = performance.now();
for (let index = 0; index < CALLS; index++) await client.flowRuns.get(flow.run.id);
print("call_ms", (performance.now() - began) / CALLS, "ms");
await client.close();
