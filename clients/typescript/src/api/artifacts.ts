/** Artifacts: what runs show to people. Runs create them with `run.artifacts`. */

import { create } from "@bufbuild/protobuf";
import { nowUs, timestamp } from "../core/clock.js";
import { newId } from "../core/ids.js";
import { jsonPayload } from "../core/json.js";
import { MAX_PAYLOAD_BYTES } from "../core/limits.js";
import { ArtifactSchema } from "../gen/flowspan/v1/artifact_pb.js";
import { ArtifactService } from "../gen/flowspan/v1/artifact_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import { type Artifact, toArtifact } from "./records.js";
import { type ListOptions, orderOf, paged } from "./run_queries.js";

/** The artifacts to list. An artifact must match every member that is set. */
export interface ArtifactFilter {
  key?: string;
  /** One of these types. */
  types?: string[];
  runId?: string;
  /** Include the artifacts of the runs that this run called. */
  includeDescendants?: boolean;
  /** The start of the id, at least 4 characters. */
  idPrefix?: string;
  /** The end of the id, at least 4 characters. */
  idSuffix?: string;
}

/** The facts of an artifact that no run creates. */
export interface NewArtifact extends RequestOptions {
  /** The name of the thing that this is a version of: lower-case letters, digits and dashes. */
  key?: string;
  /** In Markdown. */
  description?: string;
  /** The run that it belongs to. */
  runId?: string;
}

/** See the module. */
export class Artifacts {
  /** @internal */
  constructor(private readonly caller: Caller) {}

  private get stub() {
    return this.caller.client(ArtifactService);
  }

  /** Create an artifact from outside a run. */
  async create(type: string, data: unknown, options: NewArtifact = {}): Promise<Artifact> {
    const artifact = create(ArtifactSchema, {
      id: newId(),
      type,
      key: options.key ?? "",
      description: options.description ?? "",
      runId: options.runId ?? "",
      data: jsonPayload(data, MAX_PAYLOAD_BYTES),
      createTime: timestamp(nowUs()),
    });
    const answer = await this.caller.repeatable(
      (call) => this.stub.createArtifact({ artifact }, call),
      options,
    );
    return toArtifact(answer.artifact ?? artifact);
  }

  /** Get an artifact by its id. @throws FlowspanError - NOT_FOUND: it does not exist. */
  async get(id: string, options?: RequestOptions): Promise<Artifact> {
    return this.one({ case: "id", value: id }, options);
  }

  /** Get the latest artifact of a key. @throws FlowspanError - NOT_FOUND: there is none. */
  async latest(key: string, options?: RequestOptions): Promise<Artifact> {
    return this.one({ case: "key", value: key }, options);
  }

  private async one(
    which: { case: "id" | "key"; value: string },
    options?: RequestOptions,
  ): Promise<Artifact> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.getArtifact({ which }, call),
      options,
    );
    return toArtifact(answer.artifact ?? create(ArtifactSchema));
  }

  /** Iterate over artifacts, newest first. */
  list(filter: ArtifactFilter = {}, options: ListOptions = {}): AsyncGenerator<Artifact> {
    return paged(async (pageToken, pageSize) => {
      const answer = await this.caller.repeatable(
        (call) =>
          this.stub.listArtifacts({ filter, order: orderOf(options), pageSize, pageToken }, call),
        options,
      );
      return { items: answer.artifacts.map(toArtifact), nextPageToken: answer.nextPageToken };
    }, options);
  }

  /** Delete an artifact. Idempotent. Returns the number deleted. */
  async delete(id: string, options?: RequestOptions): Promise<number> {
    return this.remove({ case: "id", value: id }, options);
  }

  /** Delete all artifacts of a key. Idempotent. Returns the number deleted. */
  async deleteKey(key: string, options?: RequestOptions): Promise<number> {
    return this.remove({ case: "key", value: key }, options);
  }

  private async remove(
    which: { case: "id" | "key"; value: string },
    options?: RequestOptions,
  ): Promise<number> {
    const answer = await this.caller.repeatable(
      (call) => this.stub.deleteArtifact({ which }, call),
      options,
    );
    return Number(answer.deletedArtifactCount);
  }
}
