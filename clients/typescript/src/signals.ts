/**
 * SIGINT and SIGTERM while runs are open: they end as CRASHED, the service gets their states, and
 * then the process ends with the signal. A second signal ends it at once.
 *
 * If the program has a handler of its own, only that one decides.
 */

import { delay } from "./core/waiting.js";
import { InterruptedError } from "./errors.js";
import { endStopped } from "./runs/engine.js";
import type { Run } from "./runs/run.js";

/** What an interruption does to a client. */
export interface Interruptible {
  readonly openRuns: Map<string, Run>;
  /** Deliver the last states. */
  closeAfterSignal(): Promise<void>;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const GRACE_MS = 1_000;
const POLL_MS = 10;

const clients = new Set<Interruptible>();
let isEnding = false;

/** Handle signals for a client that has open runs. Idempotent. */
export function watchSignals(client: Interruptible): void {
  if (clients.size === 0) for (const name of SIGNALS) process.on(name, onSignal);
  clients.add(client);
}

/** Leave signals to their default again, once no client has open runs. Idempotent. */
export function unwatchSignals(client: Interruptible): void {
  if (!clients.delete(client) || clients.size > 0 || isEnding) return;
  for (const name of SIGNALS) process.off(name, onSignal);
}

function onSignal(name: NodeJS.Signals): void {
  if (process.listenerCount(name) > 1) return;
  if (isEnding) {
    endProcess(name);
    return;
  }
  isEnding = true;
  void endRuns(name).finally(() => endProcess(name));
}

async function endRuns(name: NodeJS.Signals): Promise<void> {
  const ending = [...clients];
  const error = new InterruptedError(name);
  const outermost = ending.flatMap((client) =>
    [...client.openRuns.values()].filter((run) => !run.parent),
  );
  for (const run of outermost) run.stopWith({ kind: "interrupted", error, message: error.message });
  // Code that listens to its signal gets a moment to clean up.
  for (
    let waited = 0;
    waited < GRACE_MS && outermost.some((run) => !run.hasEnded);
    waited += POLL_MS
  ) {
    await delay(POLL_MS);
  }
  for (const run of outermost) endTree(run);
  await Promise.all(ending.map((client) => client.closeAfterSignal()));
}

function endTree(run: Run): void {
  for (const child of run.children) endTree(child);
  endStopped(run);
}

function endProcess(name: NodeJS.Signals): void {
  for (const each of SIGNALS) process.off(each, onSignal);
  process.kill(process.pid, name);
}
