/** The current run of asynchronous code, in Node. */

import { AsyncLocalStorage } from "node:async_hooks";
import type { CurrentRun } from "./host.js";
import type { Run } from "./run.js";

// Shared by all copies of the package that a program loads.
const KEY = Symbol.for("flowspan.currentRun");
const shared = globalThis as { [KEY]?: AsyncLocalStorage<Run> };
shared[KEY] ??= new AsyncLocalStorage<Run>();
const storage: AsyncLocalStorage<Run> = shared[KEY];

/** See the module. */
export const asyncCurrentRun: CurrentRun = {
  with: (run, code) => storage.run(run, code),
  get: () => storage.getStore(),
};

/** Return the run whose code is running; undefined outside runs. */
export function currentRun(): Run | undefined {
  return storage.getStore();
}
