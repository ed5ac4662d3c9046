/** Flows, as opposed to their runs. */

import { create } from "@bufbuild/protobuf";
import { FlowSchema } from "../gen/flowspan/v1/flow_pb.js";
import { FlowService } from "../gen/flowspan/v1/flow_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import { type Flow, toFlow } from "./records.js";
import { type ListOptions, paged } from "./run_queries.js";

/** See the module. */
export class Flows {
  /** @internal */
  constructor(private readonly caller: Caller) {}

  private get stub() {
    return this.caller.client(FlowService);
  }

  /** Get a flow by its name. @throws FlowspanError - NOT_FOUND: it has never run. */
  async get(name: string, options?: RequestOptions): Promise<Flow> {
    const key = { case: "name", value: name } as const;
    const answer = await this.caller.repeatable(
      (call) => this.stub.getFlow({ key }, call),
      options,
    );
    return toFlow(answer.flow ?? create(FlowSchema));
  }

  /** Iterate over flows, ordered by name. */
  list(options: Omit<ListOptions, "oldestFirst"> = {}): AsyncGenerator<Flow> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) => this.stub.listFlows({ pageSize, pageToken }, call),
        options,
      );
      return { items: answer.flows.map(toFlow), nextPageToken: answer.nextPageToken };
    }, options);
  }
}
