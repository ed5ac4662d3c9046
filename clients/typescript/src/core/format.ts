/** The text of a log record. */

import { errorSummary, stackTrace } from "./failures.js";

/** Join values: texts stay as they are, errors have their stack trace, and others are JSON. */
export function logText(values: readonly unknown[]): string {
  return values.map(textOf).join(" ");
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return stackTrace(value) || errorSummary(value);
  if (typeof value === "object" && value !== null) {
    try {
      return JSON.stringify(value) ?? "";
    } catch {
      return Object.prototype.toString.call(value);
    }
  }
  return String(value);
}
