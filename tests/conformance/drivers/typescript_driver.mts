/**
 * The driver of the TypeScript client: performs commands with the public names of flowspan.
 *
 * tests/conformance/README.md describes the commands and the operations of bodies.
 */

import { createInterface } from "node:readline";
import { connect, currentRun, type Run, RunAbortedError, RunCancelledError } from "flowspan";

interface Operation {
  log?: string;
  repeat?: number;
  times?: number;
  task?: string;
  flow?: string;
  body?: Operation[];
  retries?: number;
  retry_delay_s?: number;
  tags?: string[];
  parallel?: Operation[];
  fail?: string;
  cause?: string;
  up_to_attempt?: number;
  sleep_s?: number;
  wait?: string;
  mark?: string;
  markdown?: string;
  return?: unknown;
}

const client = await connect();
const gates = new Map<string, { opened: Promise<void>; open: () => void }>();

function answer(fields: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

function gate(name: string) {
  let found = gates.get(name);
  if (found === undefined) {
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    found = { opened, open };
    gates.set(name, found);
  }
  return found;
}

/** Wait for a promise, or throw as soon as the run is cancelled. */
function unlessCancelled<T>(run: Run, promise: Promise<T>): Promise<T> {
  run.signal.throwIfAborted();
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      run.signal.addEventListener("abort", () => reject(run.signal.reason), { once: true });
    }),
  ]);
}

function optionsOf(op: Operation) {
  return {
    retries: op.retries ?? 0,
    retryDelayMs: (op.retry_delay_s ?? 0) * 1000,
    tags: op.tags ?? [],
  };
}

function bodyOf(op: Operation) {
  return async (run: Run): Promise<unknown> => {
    let result: unknown;
    for (const each of op.body ?? []) {
      const found = await perform(run, each);
      if ("return" in each) result = found;
    }
    return result;
  };
}

async function perform(run: Run, op: Operation): Promise<unknown> {
  if (op.log !== undefined) {
    const text = op.log.repeat(op.repeat ?? 1);
    if (op.times === undefined) run.log.info(text);
    for (let number = 0; number < (op.times ?? 0); number++) run.log.info(`${text} ${number}`);
  } else if (op.task !== undefined) {
    return await run.task(op.task, optionsOf(op), bodyOf(op));
  } else if (op.flow !== undefined) {
    return await client.flow(op.flow, optionsOf(op), bodyOf(op));
  } else if (op.parallel !== undefined) {
    await Promise.all(
      op.parallel.map((each) => run.task(each.task ?? "", optionsOf(each), bodyOf(each))),
    );
  } else if (op.fail !== undefined) {
    if (run.attempt <= (op.up_to_attempt ?? run.attempt)) {
      const cause = op.cause === undefined ? undefined : new Error(op.cause);
      throw new Error(op.fail.repeat(op.repeat ?? 1), { cause });
    }
  } else if (op.sleep_s !== undefined) {
    const ms = op.sleep_s * 1000;
    await unlessCancelled(run, new Promise((resolve) => setTimeout(resolve, ms)));
  } else if (op.wait !== undefined) {
    await unlessCancelled(run, gate(op.wait).opened);
  } else if (op.mark !== undefined) {
    answer({ mark: op.mark });
  } else if (op.markdown !== undefined) {
    await currentRun()?.artifacts.markdown(op.markdown);
  } else if ("return" in op) {
    return op.return;
  } else {
    throw new Error(`the driver does not know the operation ${JSON.stringify(op)}`);
  }
  return undefined;
}

async function start(id: number, op: Operation): Promise<void> {
  let state = "COMPLETED";
  try {
    await client.flow(op.flow ?? "", optionsOf(op), bodyOf(op));
  } catch (error) {
    const isCancelled = error instanceof RunCancelledError || error instanceof RunAbortedError;
    state = isCancelled ? "CANCELLED" : "FAILED";
  }
  answer({ id, ok: { state, name: state.charAt(0) + state.slice(1).toLowerCase() } });
}

const flows: Promise<void>[] = [];
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.start !== undefined) {
    flows.push(start(command.id, command.start));
    answer({ id: command.id, started: true });
  } else if (command.open !== undefined) {
    gate(command.open).open();
    answer({ id: command.id, ok: {} });
  } else if (command.close !== undefined) {
    break;
  } else {
    answer({ id: command.id, error: `unknown command ${line}` });
  }
}
await Promise.all(flows);
try {
  await client.close();
} catch (error) {
  // The test looks at what the service has.
  process.stderr.write(`${String(error)}\n`);
}
process.exit(0);
