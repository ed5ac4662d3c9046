/** Flow runs: read, create, cancel, delete. */

import { create } from "@bufbuild/protobuf";
import { nowUs, timestamp, timestampOfDate } from "../core/clock.js";
import { newId } from "../core/ids.js";
import { jsonPayload } from "../core/json.js";
import { MAX_PARAMETERS_BYTES } from "../core/limits.js";
import { FlowspanError } from "../errors.js";
import { FlowRunSchema } from "../gen/flowspan/v1/flow_run_pb.js";
import { FlowRunService } from "../gen/flowspan/v1/flow_run_service_pb.js";
import { StateSchema, StateType } from "../gen/flowspan/v1/state_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import {
  type FlowRun,
  isTerminal,
  type State,
  type StateCounts,
  type Transition,
  toFlowRun,
  toTransition,
  toVerdict,
  type Verdict,
} from "./records.js";
import {
  countsOf,
  filterMessage,
  type ListOptions,
  orderOf,
  paged,
  type RunFilter,
} from "./run_queries.js";
import { follow, type WatchItem } from "./watches.js";

/** The facts of a run that no process executes yet. */
export interface NewFlowRun extends RequestOptions {
  /** A UUIDv7. One is chosen if not set. */
  id?: string;
  /** The name of the run. */
  runName?: string;
  parameters?: Readonly<Record<string, unknown>>;
  tags?: readonly string[];
  /** Creates the run as SCHEDULED for this time. PENDING if not set. */
  scheduledTime?: Date;
  parentRunId?: string;
  version?: string;
}

/** The answer to a request for a transition. */
export interface TransitionAnswer<Run> {
  readonly verdict: Verdict;
  /** The run after the call. */
  readonly run: Run;
}

/** See the module. */
export class FlowRuns {
  /** @internal */
  constructor(
    private readonly caller: Caller,
    private readonly has: (capability: string) => boolean,
  ) {}

  private get stub() {
    return this.caller.client(FlowRunService);
  }

  /** Get a run. @throws FlowspanError - NOT_FOUND: the run does not exist. */
  async get(id: string, options?: RequestOptions): Promise<FlowRun> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.getFlowRun({ id }, call),
      options,
    );
    return toFlowRun(answer.flowRun ?? create(FlowRunSchema));
  }

  /** Iterate over runs, newest first. */
  list(filter: RunFilter = {}, options: ListOptions = {}): AsyncGenerator<FlowRun> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) =>
          this.stub.listFlowRuns(
            { filter: filterMessage(filter), order: orderOf(options), pageSize, pageToken },
            call,
          ),
        options,
      );
      return { items: answer.flowRuns.map(toFlowRun), nextPageToken: answer.nextPageToken };
    }, options);
  }

  /** Count runs by the type of their state. */
  async count(filter: RunFilter = {}, options?: RequestOptions): Promise<StateCounts> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.countFlowRuns({ filter: filterMessage(filter) }, call),
      options,
    );
    return countsOf(answer.counts);
  }

  /**
   * Create a run that no process executes yet.
   *
   * @throws FlowspanError - ALREADY_EXISTS: the id is taken by another run.
   */
  async create(flowName: string, run: NewFlowRun = {}): Promise<FlowRun> {
    const state = create(StateSchema, { type: StateType.PENDING, time: timestamp(nowUs()) });
    if (run.scheduledTime) {
      state.type = StateType.SCHEDULED;
      state.scheduledTime = timestampOfDate(run.scheduledTime);
    }
    const flowRun = create(FlowRunSchema, {
      id: run.id ?? newId(),
      flowName,
      name: run.runName ?? "",
      parentRunId: run.parentRunId ?? "",
      tags: [...(run.tags ?? [])],
      flowVersion: run.version ?? "",
      state,
    });
    if (run.parameters) flowRun.parameters = jsonPayload(run.parameters, MAX_PARAMETERS_BYTES);
    // With an id, a repeated call finds the run that the first one has created.
    const answer = await this.caller.repeatable(
      (call) => this.stub.createFlowRun({ flowRun }, call),
      run,
    );
    return toFlowRun(answer.flowRun ?? flowRun);
  }

  /**
   * Cancel a run and all runs that it called. Its process is asked to stop them; a run that no
   * process executes becomes CANCELLED at once.
   *
   * @param reason - Why, for people.
   * @returns A verdict REJECTED if the run has ended, DUPLICATE if it is being cancelled.
   */
  async cancel(
    id: string,
    reason = "",
    options?: RequestOptions,
  ): Promise<TransitionAnswer<FlowRun>> {
    if (this.has("cancel.v1")) {
      const answer = await this.caller.repeatable(
        (call) => this.stub.cancelFlowRun({ id, reason }, call),
        options,
      );
      return {
        verdict: toVerdict(answer.verdict),
        run: toFlowRun(answer.flowRun ?? create(FlowRunSchema)),
      };
    }
    const state = { type: StateType.CANCELLING, message: reason };
    const answer = await this.caller.repeatable(
      (call) => this.stub.setFlowRunState({ id, state }, call),
      options,
    );
    return {
      verdict: toVerdict(answer.verdict),
      run: toFlowRun(answer.flowRun ?? create(FlowRunSchema)),
    };
  }

  /**
   * Delete a run and all runs that it called. Idempotent.
   *
   * @param options - With `force`, runs that have not ended are deleted as well.
   * @returns The number of deleted runs.
   */
  async delete(id: string, options: RequestOptions & { force?: boolean } = {}): Promise<number> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.deleteFlowRun({ id, force: options.force ?? false }, call),
      options,
    );
    return Number(answer.deletedRunCount);
  }

  /** Iterate over the history of a run, in order. */
  transitions(id: string, options: ListOptions = {}): AsyncGenerator<Transition> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) => this.stub.listFlowRunTransitions({ id, pageSize, pageToken }, call),
        options,
      );
      return { items: answer.transitions.map(toTransition), nextPageToken: answer.nextPageToken };
    }, options);
  }

  /**
   * Wait until a run has ended.
   *
   * @param options - `timeoutMs` limits the wait; forever if not set.
   * @throws FlowspanError - DEADLINE_EXCEEDED: the run has not ended in time. It continues.
   */
  async wait(id: string, options: RequestOptions = {}): Promise<FlowRun> {
    const timeout = options.timeoutMs === undefined ? [] : [AbortSignal.timeout(options.timeoutMs)];
    const given = options.signal === undefined ? [] : [options.signal];
    const watch = {
      runId: id,
      flowRunsOnly: true,
      signal: AbortSignal.any([...given, ...timeout]),
    };
    for await (const item of follow(this.caller, watch)) {
      const state = stateIn(item, id);
      if (state !== undefined && isTerminal(state.type)) break;
    }
    options.signal?.throwIfAborted();
    if (timeout[0]?.aborted) {
      throw new FlowspanError(
        `the run ${id} has not ended after ${options.timeoutMs} ms; it continues`,
        {
          code: "DEADLINE_EXCEEDED",
        },
      );
    }
    return this.get(id);
  }
}

/** Return the state of a run in an item of a watch; undefined if the item is about others. */
function stateIn(item: WatchItem, id: string): State | undefined {
  if (item.kind === "change" && item.transition.runId === id) return item.transition.state;
  if (item.kind === "run" && item.run.id === id) return item.run.state;
  return undefined;
}
