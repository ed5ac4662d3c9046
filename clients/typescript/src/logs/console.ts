/** Capture of the console: what runs write with `console.log` is stored with them. */

import { format } from "node:util";
import { currentRun } from "../runs/current.js";
import { LEVELS, writeLog } from "../runs/logger.js";

const METHODS = {
  debug: LEVELS.debug,
  log: LEVELS.info,
  info: LEVELS.info,
  warn: LEVELS.warn,
  error: LEVELS.error,
} as const;

/**
 * Store what runs write to the console with them. It is still printed.
 *
 * @returns A disposable that ends the capture: call it, or write `using`.
 */
export function captureConsole(): Disposable & (() => void) {
  const target = console as unknown as Record<string, (...values: unknown[]) => void>;
  const originals = new Map<string, (...values: unknown[]) => void>();
  const patches = new Map<string, unknown>();
  for (const [name, level] of Object.entries(METHODS)) {
    const original = target[name];
    if (original === undefined) continue;
    const patch = (...values: unknown[]) => {
      original.apply(console, values);
      const run = currentRun();
      if (run !== undefined && !run.hasEnded) writeLog(run, level, "console", format(...values));
    };
    originals.set(name, original);
    patches.set(name, patch);
    target[name] = patch;
  }
  const end = () => {
    for (const [name, original] of originals) {
      // Somebody may have patched the console after us: their patch calls ours, which must stay.
      if (target[name] === patches.get(name)) target[name] = original;
    }
  };
  return Object.assign(end, { [Symbol.dispose]: end });
}
