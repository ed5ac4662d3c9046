/** Variables: named JSON values that flows and people share. */

import { create } from "@bufbuild/protobuf";
import { jsonPayload } from "../core/json.js";
import { FlowspanError } from "../errors.js";
import { VariableSchema } from "../gen/flowspan/v1/variable_pb.js";
import { VariableService } from "../gen/flowspan/v1/variable_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import { toVariable, type Variable } from "./records.js";
import { type ListOptions, paged } from "./run_queries.js";

const MAX_VALUE_BYTES = 64 << 10;

/** See the module. */
export class Variables {
  /** @internal */
  constructor(private readonly caller: Caller) {}

  private get stub() {
    return this.caller.client(VariableService);
  }

  /**
   * Get the value of a variable; undefined if it does not exist.
   *
   * @throws FlowspanError - The service does not answer: there is no silent default.
   */
  async get<T = unknown>(name: string, options?: RequestOptions): Promise<T | undefined> {
    try {
      const answer = await this.caller.repeatable(
        (call) => this.stub.getVariable({ name }, call),
        options,
      );
      return toVariable<T>(answer.variable ?? create(VariableSchema)).value;
    } catch (error) {
      if (error instanceof FlowspanError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  /**
   * Set a variable.
   *
   * @param options - Without `overwrite`, an existing variable is an error (ALREADY_EXISTS).
   */
  async set<T>(
    name: string,
    value: T,
    options: RequestOptions & { overwrite?: boolean; tags?: readonly string[] } = {},
  ): Promise<Variable<T>> {
    const variable = create(VariableSchema, {
      name,
      value: jsonPayload(value, MAX_VALUE_BYTES),
      tags: [...(options.tags ?? [])],
    });
    const overwrite = options.overwrite ?? false;
    const answer = await this.caller.once(
      (call) => this.stub.setVariable({ variable, overwrite }, call),
      options,
    );
    return toVariable<T>(answer.variable ?? variable);
  }

  /** Delete a variable. Idempotent. Returns true if it existed. */
  async delete(name: string, options?: RequestOptions): Promise<boolean> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.deleteVariable({ name }, call),
      options,
    );
    return answer.deleted;
  }

  /** Iterate over variables, ordered by name. */
  list(
    filter: { namePrefix?: string; tags?: string[] } = {},
    options: Omit<ListOptions, "oldestFirst"> = {},
  ): AsyncGenerator<Variable> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) => this.stub.listVariables({ ...filter, pageSize, pageToken }, call),
        options,
      );
      return {
        items: answer.variables.map((each) => toVariable(each)),
        nextPageToken: answer.nextPageToken,
      };
    }, options);
  }
}
