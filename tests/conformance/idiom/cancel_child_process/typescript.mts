import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect, type Run, RunCancelledError } from "flowspan";

const HOUR_MS = 3_600_000;
const FILE = fileURLToPath(import.meta.url);

async function child(run: Run) {
  console.log("> waiting");
  await sleep(HOUR_MS, undefined, { signal: run.signal });
}

async function parent(run: Run) {
  const program = spawn(process.execPath, [FILE, "child"], {
    env: { ...process.env, ...run.environ() },
    stdio: ["ignore", "inherit", "inherit"],
  });
  await once(program, "exit");
  run.signal.throwIfAborted();
}

const which = process.argv[2] === "child" ? child : parent;
await using client = await connect();

try {
  await client.flow(which.name, which);
} catch (error) {
  if (!(error instanceof RunCancelledError)) throw error;
  console.log(`> ${which.name} cancelled`);
}
