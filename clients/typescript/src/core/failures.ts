/** Errors of user code in the form in which they are reported. */

import { create } from "@bufbuild/protobuf";
import { type Failure, FailureSchema } from "../gen/flowspan/v1/failure_pb.js";
import {
  MAX_FAILURE_CHAIN,
  MAX_FAILURE_TOTAL_BYTES,
  MAX_FAILURE_TYPE_BYTES,
  MAX_FAILURES,
  MAX_MESSAGE_BYTES,
  MAX_TRACE_BYTES,
} from "./limits.js";
import { byteLength, shorten, truncate } from "./text.js";

/**
 * The folder of this package. Its modules are in dist, and in src where source maps are in use.
 */
const PACKAGE_FOLDER = import.meta.url
  .replace(/(dist|src)\/core\/failures\.[jt]s.*$/, "")
  .replace(/^file:\/\//, "");

/** Return the name of the type of an error, or of what was thrown in its place. */
export function errorType(error: unknown): string {
  if (error === null) return "null";
  if (typeof error !== "object" && typeof error !== "function") return typeof error;
  const name = textOf(error, "name");
  if (name) return name;
  try {
    return (error as object).constructor?.name || "Object";
  } catch {
    return "Object";
  }
}

/** Return the message of an error, or the text of what was thrown in its place. */
export function errorMessage(error: unknown): string {
  if (typeof error === "object" && error !== null) {
    const message = textOf(error, "message");
    if (message !== undefined) return message;
    try {
      return JSON.stringify(error) ?? "";
    } catch {
      return "";
    }
  }
  return String(error);
}

/** Return type and message in one line. */
export function errorSummary(error: unknown): string {
  const message = errorMessage(error);
  const type = errorType(error);
  return shorten(message ? `${type}: ${message}` : type, MAX_MESSAGE_BYTES);
}

/** Return the stack trace of an error without the frames of this package. */
export function stackTrace(error: unknown): string {
  const stack = typeof error === "object" && error !== null ? textOf(error, "stack") : undefined;
  if (stack === undefined) return "";
  return stack
    .split("\n")
    .filter((line) => !isOwnFrame(line))
    .join("\n");
}

/** Whether a line of a stack trace is a frame of this package. */
export function isOwnFrame(line: string): boolean {
  const at = line.indexOf(PACKAGE_FOLDER);
  return (
    at >= 0 && /^\s*at /.test(line) && /^(dist|src)\//.test(line.slice(at + PACKAGE_FOLDER.length))
  );
}

/**
 * Return an error with its causes, within the limits of flowspan.v1.Failure. The members of an
 * AggregateError are its other causes. Never throws, whatever the properties of the error do.
 */
export function failureOf(error: unknown): Failure {
  return new FailureBuilder().build(error, 1);
}

class FailureBuilder {
  private readonly seen = new Set<unknown>();
  private count = 0;
  private bytes = 0;

  build(error: unknown, depth: number): Failure {
    this.seen.add(error);
    this.count++;
    const failure = create(FailureSchema, {
      type: truncate(errorType(error), MAX_FAILURE_TYPE_BYTES) || "Error",
      message: shorten(errorMessage(error), MAX_MESSAGE_BYTES),
      stackTrace: shorten(stackTrace(error), MAX_TRACE_BYTES),
    });
    this.bytes += byteLength(failure.message) + byteLength(failure.stackTrace) + 64;
    const cause = propertyOf(error, "cause");
    if (this.mayAdd(cause, depth)) failure.cause = this.build(cause, depth + 1);
    const members = propertyOf(error, "errors");
    for (const member of Array.isArray(members) ? members.slice(0, MAX_FAILURES) : []) {
      if (this.mayAdd(member, depth)) failure.otherCauses.push(this.build(member, depth + 1));
    }
    return failure;
  }

  private mayAdd(error: unknown, depth: number): boolean {
    return (
      error !== undefined &&
      error !== null &&
      !this.seen.has(error) &&
      depth < MAX_FAILURE_CHAIN &&
      this.count < MAX_FAILURES &&
      this.bytes < MAX_FAILURE_TOTAL_BYTES - MAX_TRACE_BYTES - MAX_MESSAGE_BYTES
    );
  }
}

function propertyOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

function textOf(value: object, name: string): string | undefined {
  const text = propertyOf(value, name);
  return typeof text === "string" ? text : undefined;
}
