/** Addresses of services, and the search for the local one. */

import { readFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { FlowspanError } from "./errors.js";

/** A parsed address: `host:port`, or `unix:/path`. */
export interface Address {
  /** The written form. */
  readonly text: string;
  /** The host; empty for a Unix socket. */
  readonly host: string;
  /** The port; 0 for a Unix socket. */
  readonly port: number;
  /** The path of a Unix socket; empty for TCP. */
  readonly path: string;
}

/** The address that is used if nothing says another one. */
export const DEFAULT_ADDRESS = "127.0.0.1:4600";

const HOST_PORT = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s:/[\]@]+)):(\d{1,5})$/;
const MAX_PORT = 65_535;
const PROBE_TIMEOUT_MS = 1_000;

/**
 * Parse `host:port`, `[ip6]:port` or `unix:/path`.
 *
 * @param source - The origin of the text, for the message of the error.
 * @throws FlowspanError - The address is invalid (INVALID_ARGUMENT).
 */
export function parseAddress(text: string, source = "address"): Address {
  const trimmed = text.trim();
  let why: string;
  if (trimmed.startsWith("unix:")) {
    const path = trimmed.startsWith("unix:///") ? trimmed.slice(7) : trimmed.slice(5);
    if (path.startsWith("/") && path.length > 1)
      return { text: `unix:${path}`, host: "", port: 0, path };
    why = "the path of a Unix socket must be absolute";
  } else if (trimmed.includes("://")) {
    why = "it is a gRPC address and not a URL";
  } else {
    const match = HOST_PORT.exec(trimmed);
    const port = Number(match?.[3]);
    if (match !== null && port > 0 && port <= MAX_PORT) {
      return { text: trimmed, host: match[1] ?? match[2] ?? "", port, path: "" };
    }
    why = trimmed.includes(":") ? "the host or the port is malformed" : "it has no port";
  }
  throw new FlowspanError(
    `${source}=${JSON.stringify(text)}: ${why}; expected host:port, as in ${DEFAULT_ADDRESS}, or unix:/path/to/socket`,
    { code: "INVALID_ARGUMENT", advice: "Correct the address." },
  );
}

/**
 * Choose the service: the given address, `FLOWSPAN_ADDRESS`, the local service of this user if it
 * runs, or else {@link DEFAULT_ADDRESS}.
 *
 * @throws FlowspanError - The given address is invalid.
 */
export async function resolveAddress(
  given: string | undefined,
  environ: Readonly<Record<string, string | undefined>>,
): Promise<Address> {
  if (given !== undefined) return parseAddress(given);
  const configured = environ.FLOWSPAN_ADDRESS?.trim();
  if (configured) return parseAddress(configured, "FLOWSPAN_ADDRESS");
  return (await findLocalService(environ)) ?? parseAddress(DEFAULT_ADDRESS);
}

/** Return the first address that the local service has published and that answers. */
export async function findLocalService(
  environ: Readonly<Record<string, string | undefined>>,
): Promise<Address | undefined> {
  for (const text of publishedAddresses(join(homeFolder(environ), "service.json"))) {
    let address: Address;
    try {
      address = parseAddress(text);
    } catch {
      continue;
    }
    if (await isReachable(address)) return address;
  }
  return undefined;
}

function publishedAddresses(file: string): string[] {
  try {
    const info: unknown = JSON.parse(readFileSync(file, "utf8"));
    const addresses = (info as { addresses?: unknown } | null)?.addresses;
    return Array.isArray(addresses) ? addresses.map(String) : [];
  } catch {
    return [];
  }
}

/** Return the folder of the local service: `FLOWSPAN_HOME`, or the one in the user's data folder. */
export function homeFolder(environ: Readonly<Record<string, string | undefined>>): string {
  const given = environ.FLOWSPAN_HOME?.trim();
  if (given) return given.startsWith("~/") ? join(homedir(), given.slice(2)) : given;
  if (process.platform === "darwin") {
    return join(homedir(), "Library", "Application Support", "flowspan");
  }
  const data = environ.XDG_DATA_HOME;
  return join(data?.startsWith("/") ? data : join(homedir(), ".local", "share"), "flowspan");
}

function isReachable(address: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = address.path
      ? connectSocket(address.path)
      : connectSocket(address.port, address.host);
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(false));
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
