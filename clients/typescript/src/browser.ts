/**
 * flowspan for browsers: read, watch and cancel runs over HTTP, and report flows of a web page.
 *
 * @module
 */

export type { ArtifactFilter, Artifacts, NewArtifact } from "./api/artifacts.js";
export type { RequestOptions } from "./api/caller.js";
export type { FlowRuns, NewFlowRun, TransitionAnswer } from "./api/flow_runs.js";
export type { Flows } from "./api/flows.js";
export type { Label, Labels } from "./api/labels.js";
export type { LogFilter, Logs } from "./api/logs.js";
export type { Reader } from "./api/reader.js";
export {
  type Artifact,
  type CodeLocation,
  type Failure,
  type Flow,
  type FlowRun,
  isTerminal,
  type LogLevel,
  type LogRecord,
  type Open,
  type RunInput,
  type RunRecord,
  type ServiceInfo,
  type State,
  type StateCounts,
  type StateType,
  type TaskRun,
  type Transition,
  type Variable,
  type Verdict,
} from "./api/records.js";
export type { ListOptions, RunFilter } from "./api/run_queries.js";
export type { TaskRuns } from "./api/task_runs.js";
export type { Variables } from "./api/variables.js";
export type { WatchItem, WatchOptions } from "./api/watches.js";
export { type BrowserClient, type BrowserConnectOptions, connect } from "./browser/client.js";
export type {
  BrowserFlowOptions,
  BrowserLogger,
  BrowserRun,
  BrowserRunCode,
} from "./browser/run.js";
export { NotJsonError, Payload } from "./core/json.js";
export {
  FlowspanError,
  type FlowspanErrorDetails,
  RunAbortedError,
  RunCancelledError,
} from "./errors.js";
