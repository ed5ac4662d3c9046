/** JSON payloads of the values of users. */

import { create } from "@bufbuild/protobuf";
import { type Payload as PayloadMessage, PayloadSchema } from "../gen/flowspan/v1/payload_pb.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const MAX_DEPTH = 500;

/** A value that could not be stored as JSON; the message says why. */
export class NotJsonError extends TypeError {
  override readonly name = "NotJsonError";
}

/**
 * Encode a value as a payload with the encoding "json".
 *
 * @param value - Any value that JSON can hold. `undefined` is stored as null.
 * @param maxBytes - The largest size of the encoded value.
 * @throws {@link NotJsonError} The value is too large, nested too deeply, or JSON cannot hold it.
 */
export function jsonPayload(value: unknown, maxBytes: number): PayloadMessage {
  return create(PayloadSchema, { encoding: "json", data: encodeJson(value, maxBytes) });
}

/** Encode a value as UTF-8 JSON; see {@link jsonPayload}. */
export function encodeJson(value: unknown, maxBytes: number): Uint8Array {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new NotJsonError(`JSON cannot hold the value: ${reasonOf(error)}`);
  }
  const data = encoder.encode(text ?? "null");
  if (data.length > maxBytes) {
    throw new NotJsonError(
      `the value has ${data.length} bytes as JSON; at most ${maxBytes} are stored`,
    );
  }
  if (text !== undefined && data.length > MAX_DEPTH && depthOf(text) > MAX_DEPTH) {
    throw new NotJsonError(`the value is nested more than ${MAX_DEPTH} levels deep`);
  }
  return data;
}

function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).split("\n")[0] as string;
  } catch {
    return "its conversion failed";
  }
}

function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [bracket] of json.replace(/"(?:[^"\\]|\\.)*"/g, "").matchAll(/[[\]{}]/g)) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** A stored value: bytes and the name of their encoding. */
export class Payload {
  /** @param encoding - "json", or a name that the clients of a project agree on. */
  constructor(
    readonly encoding: string,
    readonly data: Uint8Array,
  ) {}

  /** The bytes as UTF-8 text. */
  get text(): string {
    return decoder.decode(this.data);
  }

  /**
   * Parse the value.
   *
   * @throws TypeError - The encoding is not "json".
   */
  json<T = unknown>(): T {
    if (this.encoding !== "json") {
      throw new TypeError(
        `the payload has the encoding ${JSON.stringify(this.encoding)}, not "json"`,
      );
    }
    return JSON.parse(this.text) as T;
  }
}

/** Return the payload of a message. */
export function payloadOf(message: PayloadMessage | undefined): Payload | undefined {
  if (message === undefined) return undefined;
  const data =
    message.data.length === 0 && message.text ? encoder.encode(message.text) : message.data;
  return new Payload(message.encoding, data);
}
