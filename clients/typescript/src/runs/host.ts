/** What runs need of their client. */

import type { Reporter } from "../reporter/reporter.js";
import type { Tracer } from "../trace/spans.js";
import type { Incoming } from "./carriers.js";
import type { Place } from "./code.js";
import type { Run } from "./run.js";

/** The run whose code is running. */
export interface CurrentRun {
  /** Call code in which a run is the current one. */
  with<T>(run: Run, code: () => T): T;
  /** Return the current run. */
  get(): Run | undefined;
}

/** See the module. */
export interface RunHost {
  readonly reporter: Reporter;
  readonly tracer: Tracer;
  readonly current: CurrentRun;
  /** What the environment of the process names as its caller. */
  readonly incoming: Incoming;
  /** The runs that have not ended, by id. */
  readonly openRuns: Map<string, Run>;
  /** The places of calls, by what was called. */
  readonly places: Map<string, Place>;
  /** The address of a trace, with `{trace_id}` in place of the id; empty if none is configured. */
  tracePage(): string;
  /** Whether the service has a capability. */
  has(capability: string): boolean;
  /** Called when a top-level run begins, and when it has ended. */
  outermostChanged(isOpen: boolean): void;
  /** Tell the user something. */
  warn(message: string): void;
}
