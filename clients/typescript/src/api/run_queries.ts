/** Filters and orders of lists of runs. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampOfDate } from "../core/clock.js";
import {
  type RunFilterSchema,
  RunOrder,
  type StateCount,
} from "../gen/flowspan/v1/run_filter_pb.js";
import { StateType as StateTypeEnum } from "../gen/flowspan/v1/state_pb.js";
import type { RequestOptions } from "./caller.js";
import { enumName, enumNumber, type StateCounts, type StateType } from "./records.js";

/** The runs to list or count. A run must match every member that is set. */
export interface RunFilter {
  /** One of these types of the current state. */
  stateTypes?: readonly StateType[];
  /** One of these names of the current state. */
  stateNames?: readonly string[];
  /** One of these names of the flow or task. */
  functionNames?: readonly string[];
  /** All of these tags. */
  tags?: readonly string[];
  parentRunId?: string;
  rootRunId?: string;
  /** For task runs: the flow run that they belong to. */
  flowRunId?: string;
  topLevelOnly?: boolean;
  /** Runs created at this time or later. */
  createdAfter?: Date;
  /** Runs created before this time. */
  createdBefore?: Date;
  /** The exact name of the run. */
  runName?: string;
  /** The start of the id, at least 4 characters. */
  idPrefix?: string;
  /** The end of the id, at least 4 characters. */
  idSuffix?: string;
}

/** How to list. */
export interface ListOptions extends RequestOptions {
  /** Oldest first; newest first if not set. */
  oldestFirst?: boolean;
  /** The largest number of items. */
  limit?: number;
  /** The number of items that are fetched at a time: 1 to 1000. */
  pageSize?: number;
}

/** Return the message of a filter. */
export function filterMessage(filter: RunFilter): MessageInitShape<typeof RunFilterSchema> {
  const { stateTypes, stateNames, functionNames, tags, createdAfter, createdBefore, ...rest } =
    filter;
  const message: MessageInitShape<typeof RunFilterSchema> = { ...rest };
  if (stateTypes) message.stateTypes = stateTypes.map((type) => enumNumber(StateTypeEnum, type));
  if (stateNames) message.stateNames = [...stateNames];
  if (functionNames) message.functionNames = [...functionNames];
  if (tags) message.tags = [...tags];
  if (createdAfter) message.createdAfter = timestampOfDate(createdAfter);
  if (createdBefore) message.createdBefore = timestampOfDate(createdBefore);
  return message;
}

/** Return the order of a list. */
export function orderOf(options: ListOptions): RunOrder {
  return options.oldestFirst ? RunOrder.OLDEST_FIRST : RunOrder.NEWEST_FIRST;
}

/** Return the counts by the type of the state. */
export function countsOf(counts: readonly StateCount[]): StateCounts {
  return Object.fromEntries(
    counts.map((each) => [enumName(StateTypeEnum, each.type), Number(each.count)]),
  );
}

/** A page of a list. */
export interface Page<T> {
  items: readonly T[];
  /** Empty on the last page. */
  nextPageToken: string;
}

const DEFAULT_PAGE = 100;

/**
 * Iterate over the items of all pages. A page is fetched when the items before it were taken.
 *
 * @param fetch - Fetches a page: (token, size).
 */
export async function* paged<T>(
  fetch: (pageToken: string, pageSize: number) => Promise<Page<T>>,
  options: ListOptions,
): AsyncGenerator<T> {
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let token = "";
  while (left > 0) {
    const size = Math.max(1, Math.min(options.pageSize ?? DEFAULT_PAGE, left));
    const page = await fetch(token, size);
    for (const item of page.items) {
      yield item;
      if (--left <= 0) return;
    }
    token = page.nextPageToken;
    if (!token) return;
  }
}
