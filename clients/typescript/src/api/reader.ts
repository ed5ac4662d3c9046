/** What a client can read and change, in Node and in browsers. */

import { FlowspanError } from "../errors.js";
import { RunService } from "../gen/flowspan/v1/run_service_pb.js";
import { SystemService } from "../gen/flowspan/v1/system_service_pb.js";
import { Artifacts } from "./artifacts.js";
import type { Caller, RequestOptions } from "./caller.js";
import { FlowRuns } from "./flow_runs.js";
import { Flows } from "./flows.js";
import { Labels } from "./labels.js";
import { Logs } from "./logs.js";
import {
  type FlowRun,
  type ServiceInfo,
  type TaskRun,
  toFlowRun,
  toServiceInfo,
  toTaskRun,
} from "./records.js";
import { TaskRuns } from "./task_runs.js";
import { Variables } from "./variables.js";
import { follow, type WatchItem, type WatchOptions } from "./watches.js";

/** See the module. */
export class Reader {
  /** Flow runs: read, create, cancel, delete. */
  readonly flowRuns: FlowRuns;
  /** Task runs: read, cancel. */
  readonly taskRuns: TaskRuns;
  /** Flows, as opposed to their runs. */
  readonly flows: Flows;
  /** The logs of runs. */
  readonly logs: Logs;
  /** What runs show to people. */
  readonly artifacts: Artifacts;
  /** Named JSON values. */
  readonly variables: Variables;
  /** Key/value pairs on runs. */
  readonly labels: Labels;

  /** @internal */
  protected constructor(
    /** @internal */
    protected readonly caller: Caller,
    /** The version and the capabilities of the service, as it said when this client connected. */
    readonly service: ServiceInfo,
  ) {
    const has = (capability: string) => service.capabilities.includes(capability);
    this.flowRuns = new FlowRuns(caller, has);
    this.taskRuns = new TaskRuns(caller, has);
    this.flows = new Flows(caller);
    this.logs = new Logs(caller);
    this.artifacts = new Artifacts(caller);
    this.variables = new Variables(caller);
    this.labels = new Labels(caller);
  }

  /** Follow runs: the current ones, a marker, and then every transition in the order of commits. */
  watch(options: WatchOptions = {}): AsyncGenerator<WatchItem> {
    if (options.filter !== undefined && !this.service.capabilities.includes("watch_filters.v1")) {
      throw new FlowspanError("the service is too old for a watch with a filter", {
        code: "UNIMPLEMENTED",
        advice: "Upgrade the service, or watch without a filter.",
      });
    }
    return follow(this.caller, options);
  }

  /** Get a run of either kind. @throws FlowspanError - NOT_FOUND: there is no such run. */
  async run(id: string, options?: RequestOptions): Promise<FlowRun | TaskRun> {
    if (!this.service.capabilities.includes("get_run.v1")) return this.runOfOlder(id, options);
    const stub = this.caller.client(RunService);
    const { run } = await this.caller.repeatable((call) => stub.getRun({ id }, call), options);
    if (run.case === "taskRun") return toTaskRun(run.value);
    if (run.case === "flowRun") return toFlowRun(run.value);
    throw new FlowspanError(`the service answered with a run of an unknown kind`, {
      code: "UNIMPLEMENTED",
    });
  }

  private async runOfOlder(id: string, options?: RequestOptions): Promise<FlowRun | TaskRun> {
    try {
      return await this.flowRuns.get(id, options);
    } catch (error) {
      if (!(error instanceof FlowspanError) || error.code !== "NOT_FOUND") throw error;
      return this.taskRuns.get(id, options);
    }
  }

  /** Read the version and health of the service. */
  async info(options?: RequestOptions): Promise<ServiceInfo> {
    const stub = this.caller.client(SystemService);
    return toServiceInfo(await this.caller.repeatable((call) => stub.getInfo({}, call), options));
  }
}
