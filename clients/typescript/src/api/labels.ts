/** Labels: key/value pairs on runs, which can change at any time. */

import { LabelService } from "../gen/flowspan/v1/label_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import { type ListOptions, paged } from "./run_queries.js";

/** A label of a run. */
export interface Label {
  readonly runId: string;
  readonly key: string;
  readonly value: string;
}

/** See the module. */
export class Labels {
  /** @internal */
  constructor(private readonly caller: Caller) {}

  private get stub() {
    return this.caller.client(LabelService);
  }

  /** Set and remove labels of a run; others stay. Returns all labels of the run. */
  async set(
    runId: string,
    labels: Readonly<Record<string, string>>,
    options: RequestOptions & { removedKeys?: string[] } = {},
  ): Promise<Record<string, string>> {
    const removedKeys = options.removedKeys ?? [];
    const answer = await this.caller.repeatable(
      (call) => this.stub.setLabels({ runId, labels: { ...labels }, removedKeys }, call),
      options,
    );
    return answer.labels;
  }

  /** Get all labels of a run. */
  async get(runId: string, options?: RequestOptions): Promise<Record<string, string>> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.getLabels({ runId }, call),
      options,
    );
    return answer.labels;
  }

  /** Iterate over the labels of all runs with a key, newest run first. */
  list(
    key: string,
    options: Omit<ListOptions, "oldestFirst"> & { value?: string } = {},
  ): AsyncGenerator<Label> {
    const value = options.value === undefined ? {} : { value: options.value };
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) => this.stub.listLabels({ key, ...value, pageSize, pageToken }, call),
        options,
      );
      const items = answer.labels.map((each) => ({
        runId: each.runId,
        key: each.key,
        value: each.value,
      }));
      return { items, nextPageToken: answer.nextPageToken };
    }, options);
  }
}
