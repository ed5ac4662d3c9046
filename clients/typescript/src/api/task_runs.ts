/** Task runs: read and cancel. */

import { create } from "@bufbuild/protobuf";
import { StateType } from "../gen/flowspan/v1/state_pb.js";
import { TaskRunSchema } from "../gen/flowspan/v1/task_run_pb.js";
import { TaskRunService } from "../gen/flowspan/v1/task_run_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import type { TransitionAnswer } from "./flow_runs.js";
import {
  type StateCounts,
  type TaskRun,
  type Transition,
  toTaskRun,
  toTransition,
  toVerdict,
} from "./records.js";
import {
  countsOf,
  filterMessage,
  type ListOptions,
  orderOf,
  paged,
  type RunFilter,
} from "./run_queries.js";

/** See the module. */
export class TaskRuns {
  /** @internal */
  constructor(
    private readonly caller: Caller,
    private readonly has: (capability: string) => boolean,
  ) {}

  private get stub() {
    return this.caller.client(TaskRunService);
  }

  /** Get a run. @throws FlowspanError - NOT_FOUND: the run does not exist. */
  async get(id: string, options?: RequestOptions): Promise<TaskRun> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.getTaskRun({ id }, call),
      options,
    );
    return toTaskRun(answer.taskRun ?? create(TaskRunSchema));
  }

  /** Iterate over runs, newest first. */
  list(filter: RunFilter = {}, options: ListOptions = {}): AsyncGenerator<TaskRun> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) =>
          this.stub.listTaskRuns(
            { filter: filterMessage(filter), order: orderOf(options), pageSize, pageToken },
            call,
          ),
        options,
      );
      return { items: answer.taskRuns.map(toTaskRun), nextPageToken: answer.nextPageToken };
    }, options);
  }

  /** Count runs by the type of their state. */
  async count(filter: RunFilter = {}, options?: RequestOptions): Promise<StateCounts> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.countTaskRuns({ filter: filterMessage(filter) }, call),
      options,
    );
    return countsOf(answer.counts);
  }

  /** Cancel a run and all runs that it called; see `FlowRuns.cancel`. */
  async cancel(
    id: string,
    reason = "",
    options?: RequestOptions,
  ): Promise<TransitionAnswer<TaskRun>> {
    if (this.has("cancel.v1")) {
      const answer = await this.caller.repeatable(
        (call) => this.stub.cancelTaskRun({ id, reason }, call),
        options,
      );
      return {
        verdict: toVerdict(answer.verdict),
        run: toTaskRun(answer.taskRun ?? create(TaskRunSchema)),
      };
    }
    const state = { type: StateType.CANCELLING, message: reason };
    const answer = await this.caller.repeatable(
      (call) => this.stub.setTaskRunState({ id, state }, call),
      options,
    );
    return {
      verdict: toVerdict(answer.verdict),
      run: toTaskRun(answer.taskRun ?? create(TaskRunSchema)),
    };
  }

  /** Iterate over the history of a run, in order. */
  transitions(id: string, options: ListOptions = {}): AsyncGenerator<Transition> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) => this.stub.listTaskRunTransitions({ id, pageSize, pageToken }, call),
        options,
      );
      return { items: answer.transitions.map(toTransition), nextPageToken: answer.nextPageToken };
    }, options);
  }
}
