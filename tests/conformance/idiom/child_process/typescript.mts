import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { connect } from "flowspan";

const FILE = fileURLToPath(import.meta.url);

await using client = await connect();

if (process.argv[2] === "child") {
  await client.flow("child", (run) => run.task("step", () => {}));
} else {
  await client.flow("parent", async (run) => {
    const env = { ...process.env, ...run.environ() };
    await promisify(execFile)(process.execPath, [FILE, "child"], { env });
  });
  const traces = new Set<string | undefined>();
  for await (const run of client.flowRuns.list()) traces.add(run.traceparent.split("-")[1]);
  console.log(">", traces.size === 1 ? "one trace" : traces);
}
