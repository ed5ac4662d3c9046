/** Artifacts that a run creates, reported in order with its states. */

import { nowUs } from "../core/clock.js";
import { newId } from "../core/ids.js";
import { jsonPayload } from "../core/json.js";
import { MAX_PAYLOAD_BYTES } from "../core/limits.js";
import { byteLength, clean } from "../core/text.js";
import { artifactChangeEvent, artifactEvent } from "./events.js";
import type { Run } from "./run.js";

/** How an artifact is found and described. */
export interface ArtifactOptions {
  /** The name of the thing that this is a version of: lower-case letters, digits and dashes. */
  key?: string;
  /** In Markdown. */
  description?: string;
}

const KEY = /^[a-z0-9-]{0,256}$/;
const MAX_TYPE_BYTES = 64;

/** Creates artifacts of a run. Nothing waits; the service stores each exactly once. */
export class RunArtifacts {
  /** @internal */
  constructor(private readonly run: Run) {}

  /** Create a text in Markdown. Returns the id of the artifact. */
  markdown(text: string, options?: ArtifactOptions): string {
    return this.create("markdown", text, options);
  }

  /** Create a table: a list of objects (rows), or an object of lists (columns). */
  table(
    rows: readonly object[] | Readonly<Record<string, readonly unknown[]>>,
    options?: ArtifactOptions,
  ): string {
    return this.create("table", rows, options);
  }

  /** Create a link, with a text in its place. */
  link(url: string, text = url, options?: ArtifactOptions): string {
    return this.create("link", `[${text.replaceAll("]", "\\]")}](${url})`, options);
  }

  /** Show an image by its URL. */
  image(url: string, options?: ArtifactOptions): string {
    return this.create("image", url, options);
  }

  /** Create a progress bar, from 0 to 100. */
  progress(percent: number, options?: ArtifactOptions): RunProgress {
    return new RunProgress(this.run, this.create("progress", checkPercent(percent), options));
  }

  /**
   * Create an artifact of any type.
   *
   * @throws TypeError - JSON cannot hold the data, they are too large, or the key is invalid.
   */
  create(type: string, data: unknown, options: ArtifactOptions = {}): string {
    const { key = "", description = "" } = options;
    if (!KEY.test(key)) {
      throw new TypeError(
        `the key ${JSON.stringify(key)} has other characters than a-z, 0-9 and "-"`,
      );
    }
    if (type === "" || byteLength(type) > MAX_TYPE_BYTES || clean(type) !== type)
      throw new TypeError("a type has 1 to 64 bytes of text");
    const id = newId();
    const payload = jsonPayload(data, MAX_PAYLOAD_BYTES);
    this.run.host.reporter.emit(
      artifactEvent({
        id,
        key,
        type,
        description,
        data: payload,
        runId: this.run.id,
        atUs: nowUs(),
      }),
    );
    this.run.span.artifact(id, type, key);
    return id;
  }
}

/** A progress bar of a run. */
export class RunProgress {
  /** @internal */
  constructor(
    private readonly run: Run,
    /** The id of the artifact. */
    readonly id: string,
  ) {}

  /** Show another progress, from 0 to 100. */
  update(percent: number, description?: string): void {
    const data = jsonPayload(checkPercent(percent), MAX_PAYLOAD_BYTES);
    const change = { id: this.id, runId: this.run.id, data, atUs: nowUs() };
    const event = artifactChangeEvent(
      description === undefined ? change : { ...change, description },
    );
    this.run.host.reporter.emit(event);
  }
}

function checkPercent(percent: number): number {
  if (!(percent >= 0 && percent <= 100)) {
    throw new TypeError(`the progress is ${percent}; expected a number from 0 to 100`);
  }
  return percent;
}
