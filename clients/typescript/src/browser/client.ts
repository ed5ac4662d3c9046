/** The client of a web page, over HTTP. */

import type { Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { Caller } from "../api/caller.js";
import { Reader } from "../api/reader.js";
import { type ServiceInfo, toServiceInfo } from "../api/records.js";
import { FlowspanError } from "../errors.js";
import { SystemService } from "../gen/flowspan/v1/system_service_pb.js";
import { type BrowserFlowOptions, BrowserRun, type BrowserRunCode, splitArguments } from "./run.js";

/** The settings of a client in a browser. */
export interface BrowserConnectOptions {
  /** The HTTP address of the service; the origin of the page if not set. */
  address?: string;
  /** The bearer token, or a function that returns it for each call. */
  token?: string | (() => string);
  /** How long a call may take with all its attempts, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /** How long watches try to continue after a broken connection, in milliseconds. Default: 60,000. */
  reconnectMs?: number;
  /** Called with what the user should know. Default: `console.warn`. */
  onWarning?: (message: string) => void;
  /** In place of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
}

/**
 * Connect to a service over HTTP. A service on another origin needs `--cors-origin`.
 *
 * @throws FlowspanError - No service answers (UNAVAILABLE).
 */
export async function connect(options: BrowserConnectOptions = {}): Promise<BrowserClient> {
  const address = options.address ?? globalThis.location?.origin;
  if (!address || !/^https?:\/\//.test(address)) {
    throw new FlowspanError(
      `the address ${JSON.stringify(address)} is not an HTTP URL, such as http://127.0.0.1:4680`,
      { code: "INVALID_ARGUMENT", advice: "Correct the address." },
    );
  }
  const { token } = options;
  const read = typeof token === "function" ? token : () => token ?? "";
  const authorize: Interceptor = (next) => (request) => {
    const text = read();
    if (text) request.header.set("authorization", `Bearer ${text}`);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl: address,
    useBinaryFormat: true,
    interceptors: [authorize],
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  });
  const caller = new Caller(transport, {
    address,
    timeoutMs: options.timeoutMs ?? 30_000,
    reconnectMs: options.reconnectMs ?? 60_000,
    beforeCall: async () => undefined,
  });
  const stub = caller.client(SystemService);
  const info = await caller.once((call) => stub.getInfo({}, call));
  return new BrowserClient(
    caller,
    address,
    toServiceInfo(info),
    options.onWarning ?? warnOnConsole,
  );
}

/** See the module. Make one with {@link connect}. */
export class BrowserClient extends Reader {
  /** @internal */
  constructor(
    caller: Caller,
    /** The HTTP address of the service. */
    readonly address: string,
    service: ServiceInfo,
    private readonly warn: (message: string) => void,
  ) {
    super(caller, service);
  }

  /**
   * Run a flow. The service has it CRASHED if the page is closed before its end.
   *
   * @returns The result of the code. Rejects with what it throws, or with RunCancelledError.
   * @throws FlowspanError - The service has no runs of browsers (UNIMPLEMENTED).
   */
  flow<T>(name: string, code: BrowserRunCode<T>): Promise<T>;
  /** Run a flow, with options. */
  flow<T, P>(name: string, options: BrowserFlowOptions<P>, code: BrowserRunCode<T, P>): Promise<T>;
  async flow<T, P>(
    name: string,
    second: BrowserFlowOptions<P> | BrowserRunCode<T, P>,
    third?: BrowserRunCode<T, P>,
  ): Promise<T> {
    const [options, code] = splitArguments(name, second, third);
    if (!this.service.capabilities.includes("single_runs.v1")) {
      throw new FlowspanError("the service is too old for runs of browsers", {
        code: "UNIMPLEMENTED",
        advice: "Upgrade the service.",
      });
    }
    return new BrowserRun<P>(this.caller, name, options, "", "", this.warn).execute(code);
  }
}

function warnOnConsole(message: string): void {
  // biome-ignore lint/suspicious/noConsole: a page has no other place for warnings
  console.warn(`flowspan: ${message}`);
}
