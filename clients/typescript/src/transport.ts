/** HTTP/2 connections to the service, for gRPC. */

import { readFileSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Address } from "./address.js";
import { FlowspanError } from "./errors.js";

/** The settings of TLS. */
export interface TlsOptions {
  /** Certificates of authorities to trust, in PEM. Those of the system if not set. */
  ca?: string | Uint8Array;
  /** The certificate of this client, in PEM. */
  cert?: string | Uint8Array;
  /** The key of that certificate, in PEM. */
  key?: string | Uint8Array;
  /** The name that the certificate of the service must have; the host if not set. */
  serverName?: string;
}

/** A transport with its connection. */
export interface ServiceConnection {
  /** For the stubs of Connect. */
  readonly transport: Transport;
  /** Let the connection keep the process alive, or not. */
  setBusy(isBusy: boolean): void;
  /** Close the connection. Calls in progress fail. */
  close(): void;
}

const ON = new Set(["1", "true", "yes", "on"]);
const OFF = new Set(["0", "false", "no", "off"]);
const KEEPALIVE_DELAY_MS = 10_000;
const PING_INTERVAL_MS = 30_000;
const PING_TIMEOUT_MS = 15_000;
const MAX_MESSAGE_BYTES = 64 << 20;

/** Return a transport that connects with the first call. */
export function openConnection(
  address: Address,
  tls: TlsOptions | undefined,
  interceptors: Interceptor[],
): ServiceConnection {
  const host = address.path ? "localhost" : bracketed(address.host);
  const scheme = tls === undefined ? "http" : "https";
  const baseUrl = address.path ? `${scheme}://localhost` : `${scheme}://${host}:${address.port}`;
  const sockets = new Set<Socket>();
  let isBusy = true;
  const createConnection = () => {
    const socket = openSocket(address, tls);
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    if (!isBusy) socket.unref();
    return socket;
  };
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS },
    { createConnection },
  );
  const transport = createGrpcTransport({
    baseUrl,
    interceptors,
    sessionManager,
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  return {
    transport,
    setBusy: (value) => {
      isBusy = value;
      for (const socket of sockets) value ? socket.ref() : socket.unref();
    },
    close: () => {
      sessionManager.abort();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function openSocket(address: Address, tls: TlsOptions | undefined): Socket {
  const place = address.path
    ? { path: address.path }
    : { host: address.host, port: address.port, noDelay: true };
  if (tls === undefined) {
    return connectPlain({ ...place, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_DELAY_MS });
  }
  const options: ConnectionOptions = { ...place, ALPNProtocols: ["h2"] };
  const servername = tls.serverName ?? address.host;
  if (servername && !/^[\d.:]+$/.test(servername)) options.servername = servername;
  if (tls.ca !== undefined) options.ca = Buffer.from(tls.ca);
  if (tls.cert !== undefined) options.cert = Buffer.from(tls.cert);
  if (tls.key !== undefined) options.key = Buffer.from(tls.key);
  return connectTls(options);
}

/**
 * Return the settings of TLS that the environment names, with the variables of the Python client;
 * undefined for a connection without TLS.
 *
 * @throws FlowspanError - A variable is invalid, or its file cannot be read (INVALID_ARGUMENT).
 */
export function tlsFromEnviron(
  environ: Readonly<Record<string, string | undefined>>,
): TlsOptions | undefined {
  const read = (name: string): Uint8Array | undefined => {
    const path = environ[name]?.trim();
    if (!path) return undefined;
    try {
      return readFileSync(path.startsWith("~/") ? join(homedir(), path.slice(2)) : path);
    } catch (error) {
      throw invalid(`${name}: ${(error as Error).message}`);
    }
  };
  const text = environ.FLOWSPAN_TLS?.trim() ?? "";
  const choice = text.toLowerCase();
  if (OFF.has(choice)) return undefined;
  if (!ON.has(choice) && choice !== "" && choice !== "auto")
    throw invalid(`FLOWSPAN_TLS=${JSON.stringify(text)}: expected true, false or auto`);
  const ca = read("FLOWSPAN_TLS_CA");
  const cert = read("FLOWSPAN_TLS_CLIENT_CERT");
  const key = read("FLOWSPAN_TLS_CLIENT_KEY") ?? cert; // by default in the same file
  const serverName = environ.FLOWSPAN_TLS_SERVER_NAME?.trim();
  if (!ON.has(choice) && !ca && !cert && !serverName) return undefined;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(serverName ? { serverName } : {}),
  };
}

function invalid(message: string): FlowspanError {
  return new FlowspanError(message, {
    code: "INVALID_ARGUMENT",
    advice: "Correct the environment variable.",
  });
}

/** Return the bearer token: the given one, `FLOWSPAN_TOKEN`, or the content of `FLOWSPAN_TOKEN_FILE`. */
export function tokenSource(
  given: string | (() => string) | undefined,
  environ: Readonly<Record<string, string | undefined>>,
): () => string {
  if (typeof given === "function") return given;
  const token = given ?? environ.FLOWSPAN_TOKEN?.trim();
  if (token) return () => token;
  const file = environ.FLOWSPAN_TOKEN_FILE?.trim();
  // The file is read again for each call, because tokens are renewed in place.
  return file ? () => readFileSync(file, "utf8").trim() : () => "";
}

/** The access token of the report stream, of which the last one is known. */
export class ReportToken {
  /** The last one that was used; empty if there was none. */
  used = "";

  constructor(private readonly source: () => string) {}

  /** Return the token for a new stream. */
  use(): string {
    this.used = "";
    this.used = this.source();
    return this.used;
  }

  /** Return what `use` would; empty if it cannot be read. */
  next(): string {
    try {
      return this.source();
    } catch {
      return "";
    }
  }
}

/** Return an interceptor that sends a token as `authorization: Bearer …`. */
export function bearer(token: () => string): Interceptor {
  return (next) => (request) => {
    const text = token();
    if (text) request.header.set("authorization", `Bearer ${text}`);
    return next(request);
  };
}
