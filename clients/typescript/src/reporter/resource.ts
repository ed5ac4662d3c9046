/** The OpenTelemetry resource of the process, for spans that the service exports. */

import { truncate } from "../core/text.js";

const MAX_ATTRIBUTES = 64;
const MAX_KEY_BYTES = 256;
const MAX_VALUE_BYTES = 1024;

/** What is known of a process without its environment. */
export interface Program {
  /** The path of the script; undefined without one. */
  readonly script: string | undefined;
  readonly host: string;
  readonly processId: number;
}

/**
 * Return the resource that `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` describe. By default, the
 * service is named after the script.
 */
export function resourceOf(
  environ: Readonly<Record<string, string | undefined>>,
  program: Program,
): Record<string, string> {
  const found: Record<string, string> = {
    "service.name": truncate(stem(program.script), MAX_VALUE_BYTES) || "node",
    "process.pid": String(program.processId),
  };
  if (program.host) found["host.name"] = truncate(program.host, MAX_VALUE_BYTES);
  for (const pair of (environ.OTEL_RESOURCE_ATTRIBUTES ?? "").split(",")) {
    const equals = pair.indexOf("=");
    if (equals < 1) continue;
    found[truncate(pair.slice(0, equals).trim(), MAX_KEY_BYTES)] = truncate(
      decoded(pair.slice(equals + 1).trim()),
      MAX_VALUE_BYTES,
    );
  }
  const name = environ.OTEL_SERVICE_NAME?.trim();
  if (name) found["service.name"] = truncate(name, MAX_VALUE_BYTES);
  return Object.fromEntries(Object.entries(found).slice(0, MAX_ATTRIBUTES));
}

/** Return the name of a file without its folder and extension. */
function stem(path: string | undefined): string {
  const name = path?.split(/[\\/]/).pop() ?? "";
  return name.replace(/(?<=.)\.[cm]?[jt]sx?$/, "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
