/**
 * flowspan: report flows and tasks of a Node process, and read their runs.
 *
 * @module
 */

export { DEFAULT_ADDRESS } from "./address.js";
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
export { type Client, type ConnectOptions, connect } from "./client.js";
export { NotJsonError, Payload } from "./core/json.js";
export {
  FlowspanError,
  type FlowspanErrorDetails,
  InterruptedError,
  RunAbortedError,
  RunCancelledError,
  RunTimeoutError,
} from "./errors.js";
export { captureConsole } from "./logs/console.js";
export type { ArtifactOptions, RunArtifacts, RunProgress } from "./runs/artifacts.js";
export type { HeadersLike } from "./runs/carriers.js";
export { currentRun } from "./runs/current.js";
export type { RunCode } from "./runs/engine.js";
export { LEVELS, type RunLogger } from "./runs/logger.js";
export {
  exponentialBackoff,
  type FlowOptions,
  type InputRun,
  type RetryDelay,
  type RunOptions,
} from "./runs/options.js";
export type { Run, RunPromise } from "./runs/run.js";
export type { TlsOptions } from "./transport.js";
