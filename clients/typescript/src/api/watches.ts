/** Live changes to runs. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { WatchResponse } from "../gen/flowspan/v1/watch_service_pb.js";
import {
  SnapshotScope,
  type WatchRequestSchema,
  WatchService,
} from "../gen/flowspan/v1/watch_service_pb.js";
import type { Caller } from "./caller.js";
import {
  type FlowRun,
  type TaskRun,
  type Transition,
  toFlowRun,
  toTaskRun,
  toTransition,
} from "./records.js";
import { filterMessage, type RunFilter } from "./run_queries.js";

/** What to watch. */
export interface WatchOptions {
  /** The root of the tree to watch; all runs if not set. */
  runId?: string;
  flowRunsOnly?: boolean;
  /** The runs with which the watch begins; all if not set. */
  snapshot?: "all" | "active" | "none";
  /** The runs to watch: members that never change only, such as `functionNames` and `tags`. */
  filter?: RunFilter;
  /** Continues an earlier watch of the same runs. */
  resumeToken?: string;
  /** Ends the watch. */
  signal?: AbortSignal;
}

/** An item of a watch. */
export type WatchItem =
  | {
      /** A run in its current state, of the snapshot. */
      readonly kind: "run";
      readonly run: FlowRun | TaskRun;
    }
  | {
      /** The snapshot is complete; changes follow. */
      readonly kind: "snapshotEnd";
      readonly runCount: number;
      readonly resumeToken: string;
    }
  | {
      /** A run entered a state. */
      readonly kind: "change";
      readonly transition: Transition;
      /** With the first transition of a run: the run. */
      readonly run?: FlowRun | TaskRun;
      readonly resumeToken: string;
    };

const SCOPES = { all: SnapshotScope.ALL, active: SnapshotScope.ACTIVE, none: SnapshotScope.NONE };

/**
 * Follow runs: the current ones, a marker, and then every transition in the order of commits,
 * without gaps or duplicates. Ends when the watched run has ended. Continues after a broken
 * connection; if that happens in the snapshot, the snapshot starts again.
 */
export async function* follow(caller: Caller, options: WatchOptions): AsyncGenerator<WatchItem> {
  let resumeToken = options.resumeToken ?? "";
  const request = (): MessageInitShape<typeof WatchRequestSchema> => ({
    runId: options.runId ?? "",
    flowRunsOnly: options.flowRunsOnly ?? false,
    changesOnly: options.snapshot === "none",
    resumeToken,
    ...(options.snapshot === undefined ? {} : { snapshot: SCOPES[options.snapshot] }),
    ...(options.filter === undefined ? {} : { filter: filterMessage(options.filter) }),
  });
  const stub = caller.client(WatchService);
  const frames = caller.follow(
    (call) => stub.watch(request(), call),
    options.signal === undefined ? {} : { signal: options.signal },
  );
  for await (const frame of frames) {
    if (frame.resumeToken) resumeToken = frame.resumeToken;
    const item = itemOf(frame);
    if (item !== undefined) yield item;
  }
}

function itemOf(frame: WatchResponse): WatchItem | undefined {
  const { item, resumeToken } = frame;
  switch (item.case) {
    case "flowRun":
      return { kind: "run", run: toFlowRun(item.value) };
    case "taskRun":
      return { kind: "run", run: toTaskRun(item.value) };
    case "snapshotEnd":
      return { kind: "snapshotEnd", runCount: Number(item.value.runCount), resumeToken };
    case "change": {
      const { transition, run } = item.value;
      if (transition === undefined) return undefined;
      const change = { kind: "change", transition: toTransition(transition), resumeToken } as const;
      if (run.case === "flowRun") return { ...change, run: toFlowRun(run.value) };
      if (run.case === "taskRun") return { ...change, run: toTaskRun(run.value) };
      return change;
    }
    // Keep-alives, and kinds that are newer than this client.
    default:
      return undefined;
  }
}
