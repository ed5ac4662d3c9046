/** The client of a Node process: it reports flows and tasks, and reads and changes runs. */

import { hostname } from "node:os";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { type Address, resolveAddress } from "./address.js";
import { Caller, closedError } from "./api/caller.js";
import { Reader } from "./api/reader.js";
import { type ServiceInfo, toServiceInfo } from "./api/records.js";
import { nowUs, timestamp } from "./core/clock.js";
import { newId, randomBytes } from "./core/ids.js";
import { FlowspanError, lostCallOf, RunAbortedError, RunCancelledError } from "./errors.js";
import { closeAtExit, forgetAtExit } from "./exit.js";
import { type Command, type Hello, HelloSchema } from "./gen/flowspan/v1/report_pb.js";
import { ReportService } from "./gen/flowspan/v1/report_service_pb.js";
import { SystemService } from "./gen/flowspan/v1/system_service_pb.js";
import { type Verdict, VerdictKind } from "./gen/flowspan/v1/verdict_pb.js";
import { otlpTargetOf, wantsLogs } from "./reporter/otlp_target.js";
import { Reporter } from "./reporter/reporter.js";
import { resourceOf } from "./reporter/resource.js";
import { incomingFromEnviron, parseRunContext } from "./runs/carriers.js";
import { asyncCurrentRun } from "./runs/current.js";
import type { RunCode } from "./runs/engine.js";
import type { RunHost } from "./runs/host.js";
import type { FlowOptions, RunOptions } from "./runs/options.js";
import { type Run, type RunPromise, startRun } from "./runs/run.js";
import { type Interruptible, unwatchSignals, watchSignals } from "./signals.js";
import { sdkTracer } from "./trace/otel.js";
import { DerivedTracer, type Tracer } from "./trace/spans.js";
import {
  bearer,
  openConnection,
  ReportToken,
  type ServiceConnection,
  type TlsOptions,
  tlsFromEnviron,
  tokenSource,
} from "./transport.js";
import { VERSION } from "./version.js";

/** The settings of a client. All are optional. */
export interface ConnectOptions {
  /**
   * The service: `host:port` or `unix:/path`. If not set: `FLOWSPAN_ADDRESS`, the local service of
   * this user if it runs, or 127.0.0.1:4600.
   */
  address?: string;
  /** Use TLS: `true`, or certificates. If not set: `FLOWSPAN_TLS`, `FLOWSPAN_TLS_CA` and so on. */
  tls?: boolean | TlsOptions;
  /**
   * The bearer token, or a function that returns it for each call. If not set: `FLOWSPAN_TOKEN`, or
   * the content of the file `FLOWSPAN_TOKEN_FILE`.
   */
  token?: string | (() => string);
  /** How long connecting may take, in milliseconds. Default: 10,000. */
  connectTimeoutMs?: number;
  /** How long a call may take with all its attempts, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /** How long watches try to continue after a broken connection, in milliseconds. Default: 60,000. */
  reconnectMs?: number;
  /** How long `close` waits for the service to store what was reported. Default: 10,000. */
  closeTimeoutMs?: number;
  /** The bound of unsent events. Default: 100,000. */
  maxEvents?: number;
  /** The bound of unsent events in bytes. Default: 64 MiB. */
  maxBytes?: number;
  /** How long a new run waits if that much is unsent, in milliseconds. Default: 60,000. */
  roomTimeoutMs?: number;
  /** How long events gather before they are sent, in milliseconds. Default: 3. */
  gatherMs?: number;
  /** False to leave SIGINT and SIGTERM alone. */
  handleSignals?: boolean;
  /** Called with what the user should know. Default: `process.emitWarning`. */
  onWarning?: (message: string) => void;
  /** The environment. Default: `process.env`. */
  environ?: Readonly<Record<string, string | undefined>>;
}

/**
 * Connect to a service. Close the client when you are done, or write `await using`.
 *
 * @throws FlowspanError - No service answers (UNAVAILABLE), or a setting is invalid.
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const environ = options.environ ?? process.env;
  const address = await resolveAddress(options.address, environ);
  const tls = tlsOf(options.tls, address, environ);
  const source = tokenSource(options.token, environ);
  const token = new ReportToken(source);
  const calls = openConnection(address, tls, [bearer(source)]);
  try {
    const service = await greet(calls, address, tls, options.connectTimeoutMs ?? 10_000);
    const reports = openConnection(address, tls, [bearer(() => token.use())]);
    const derivesItself = service.capabilities.includes("service_spans.v1");
    const tracer = (await sdkTracer(VERSION)) ?? new DerivedTracer(derivesItself);
    return new Client({ options, environ, address, calls, reports, service, tracer, token });
  } catch (error) {
    calls.close();
    throw error;
  }
}

/** Return the settings of TLS; a Unix socket needs none, whatever the environment says. */
function tlsOf(
  given: ConnectOptions["tls"],
  address: Address,
  environ: Readonly<Record<string, string | undefined>>,
): TlsOptions | undefined {
  if (given === undefined) return address.path ? undefined : tlsFromEnviron(environ);
  return given === true ? {} : given || undefined;
}

async function greet(
  connection: ServiceConnection,
  address: Address,
  tls: TlsOptions | undefined,
  timeoutMs: number,
): Promise<ServiceInfo> {
  const beforeCall = async () => undefined;
  const caller = new Caller(connection.transport, {
    address: address.text,
    timeoutMs,
    reconnectMs: 0,
    beforeCall,
  });
  const stub = caller.client(SystemService);
  const began = performance.now();
  try {
    return toServiceInfo(await caller.once((call) => stub.getInfo({}, call)));
  } catch (error) {
    // A service that is not there is reported at once. One that is busy, or whose connection broke,
    // is asked again.
    if (!(error instanceof FlowspanError) || !mayAnswerLater(error))
      throw unanswered(error, address, tls);
  }
  const leftMs = timeoutMs - (performance.now() - began);
  try {
    const info = await caller.repeatable((call) => stub.getInfo({}, call), { timeoutMs: leftMs });
    return toServiceInfo(info);
  } catch (error) {
    throw unanswered(error, address, tls);
  }
}

function mayAnswerLater(error: FlowspanError): boolean {
  return error.reason === "" ? lostCallOf(error.cause) === "cut" : error.retryable;
}

/** Say of a connection that broke that there is no service, whichever status it broke with. */
function unanswered(error: unknown, address: Address, tls: TlsOptions | undefined): unknown {
  if (!(error instanceof FlowspanError) || error.reason !== "") return error;
  if (!NO_ANSWER_CODES.has(error.code) && lostCallOf(error.cause) !== "cut") return error;
  const message = `no service answers at ${address.text} (${error.message}); is it the gRPC port of a service, and does it use TLS?`;
  return new FlowspanError(message, {
    code: "UNAVAILABLE",
    advice:
      tls === undefined
        ? "Check the address. If the service uses TLS, set the option tls."
        : "Check the address, and the certificates of the option tls: ca, and cert if the service requires one of its clients.",
    cause: error,
  });
}

/** What a client is made of. */
interface ClientParts {
  options: ConnectOptions;
  environ: Readonly<Record<string, string | undefined>>;
  address: Address;
  calls: ServiceConnection;
  reports: ServiceConnection;
  service: ServiceInfo;
  tracer: Tracer;
  token: ReportToken;
}

// The codes of Connect for peers that do not speak gRPC, or TLS.
const NO_ANSWER_CODES = new Set(["INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED", "UNIMPLEMENTED"]);
const FLUSH_BEFORE_CALL_MS = 10_000;
const SIGNAL_FLUSH_MS = 5_000;

/** See the module. Make one with {@link connect}. */
export class Client extends Reader implements AsyncDisposable {
  /** The address of the service. */
  readonly address: string;
  /** The id of the session of this client. */
  readonly sessionId = newId();

  private readonly host: RunHost & Interruptible;
  private readonly reporter: Reporter;
  private readonly secret = randomBytes(16);
  private readonly warned = new Set<string>();
  private readonly parts: ClientParts;
  private outermostCount = 0;
  private closing: Promise<void> | undefined;

  /** @internal */
  constructor(parts: ClientParts) {
    const { options, calls, address, service } = parts;
    const caller = new Caller(calls.transport, {
      address: address.text,
      timeoutMs: options.timeoutMs ?? 30_000,
      reconnectMs: options.reconnectMs ?? 60_000,
      beforeCall: () => this.stored(),
    });
    super(caller, service);
    this.parts = parts;
    this.address = address.text;
    this.reporter = this.makeReporter();
    parts.reports.setBusy(false);
    const incoming = incomingFromEnviron(parts.environ);
    const named = parts.environ.FLOWSPAN_RUN ?? "";
    if (named.trim() !== "" && parseRunContext(named) === undefined)
      this.warn(`FLOWSPAN_RUN is ignored, as it is not r:<id>;t:<id>: ${named.slice(0, 200)}`);
    const handlesSignals = options.handleSignals ?? true;
    this.host = {
      reporter: this.reporter,
      tracer: parts.tracer,
      current: asyncCurrentRun,
      incoming,
      openRuns: new Map(),
      places: new Map(),
      tracePage: () => parts.environ.FLOWSPAN_TRACE_URL?.trim() || service.traceUrl,
      has: (capability) => service.capabilities.includes(capability),
      warn: (message) => this.warn(message),
      outermostChanged: (isOpen) => {
        this.outermostCount += isOpen ? 1 : -1;
        if (!handlesSignals) return;
        if (isOpen) watchSignals(this.host);
        else if (this.outermostCount === 0) unwatchSignals(this.host);
      },
      closeAfterSignal: async () => {
        await this.reporter.close(SIGNAL_FLUSH_MS);
      },
    };
    closeAtExit(this);
  }

  private makeReporter(): Reporter {
    const { options, reports } = this.parts;
    const stub = createClient(ReportService, reports.transport);
    return new Reporter(
      {
        open: (frames, signal) => stub.report(frames, { signal, timeoutMs: 0 }),
        usedToken: () => this.parts.token.used,
        nextToken: () => this.parts.token.next(),
        hello: (ackedSequence) => this.hello(ackedSequence),
        onVerdict: (verdict) => this.onVerdict(verdict),
        onCommand: (command) => this.onCommand(command),
        warn: (message) => this.warn(message),
        onBusy: (isBusy) => reports.setBusy(isBusy),
      },
      {
        maxEvents: options.maxEvents ?? 100_000,
        maxBytes: options.maxBytes ?? 64 << 20,
        gatherMs: options.gatherMs ?? 3,
        roomTimeoutMs: options.roomTimeoutMs ?? 60_000,
      },
    );
  }

  /**
   * Run a flow. Inside another run, it is a run below that one.
   *
   * @returns The promise of the result of the code. It rejects with what the code threw, or with
   *   {@link RunCancelledError} if the run was cancelled.
   */
  flow<T>(name: string, code: RunCode<T, unknown>): RunPromise<T>;
  /** Run a flow, with options. */
  flow<T, P>(name: string, options: FlowOptions<P>, code: RunCode<T, P>): RunPromise<T, P>;
  flow<T, P>(
    name: string,
    second: FlowOptions<P> | RunCode<T, P>,
    third?: RunCode<T, P>,
  ): RunPromise<T, P> {
    if (this.closing !== undefined) throw closedError();
    return startRun(this.host, "flow", name, this.currentRun(), second, third);
  }

  /** Run a task: inside the current run, or on its own. */
  task<T>(name: string, code: RunCode<T, unknown>): RunPromise<T>;
  /** Run a task, with options. */
  task<T, P>(name: string, options: RunOptions<P>, code: RunCode<T, P>): RunPromise<T, P>;
  task<T, P>(
    name: string,
    second: RunOptions<P> | RunCode<T, P>,
    third?: RunCode<T, P>,
  ): RunPromise<T, P> {
    if (this.closing !== undefined) throw closedError();
    return startRun(this.host, "task", name, this.currentRun(), second, third);
  }

  /** Return the run of this client whose code is running; undefined outside runs. */
  currentRun(): Run | undefined {
    const run = asyncCurrentRun.get();
    return run !== undefined && run.host === this.host && !run.hasEnded ? run : undefined;
  }

  /**
   * Wait until the service has stored everything that was reported so far.
   *
   * @throws FlowspanError - It was not stored in time (DEADLINE_EXCEEDED), or the service refused
   *   the session.
   */
  async flush(timeoutMs = 30_000): Promise<void> {
    if (await this.reporter.flush(timeoutMs)) return;
    throw new FlowspanError(
      `${this.reporter.pendingCount} events were not stored after ${timeoutMs} ms`,
      {
        code: "DEADLINE_EXCEEDED",
        advice: "Check that the service is reachable; events are sent until the client is closed.",
      },
    );
  }

  /**
   * Deliver what was reported, end the session and close the connections. Idempotent. Runs that
   * are still open become CRASHED.
   */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async shutDown(): Promise<void> {
    forgetAtExit(this);
    unwatchSignals(this.host);
    const lost = await this.reporter.close(this.parts.options.closeTimeoutMs ?? 10_000);
    if (lost > 0)
      this.warn(`${lost} events were not stored, because the service did not answer in time`);
    this.caller.close();
    this.parts.reports.close();
    this.parts.calls.close();
  }

  /** Let calls see what this process has reported. */
  private async stored(): Promise<void> {
    if (this.reporter.pendingCount === 0 || this.reporter.failure !== undefined) return;
    await this.reporter.flush(FLUSH_BEFORE_CALL_MS).catch(() => false);
  }

  private hello(ackedSequence: number): Hello {
    const { environ, tracer } = this.parts;
    const otlpTarget = otlpTargetOf(environ);
    return create(HelloSchema, {
      sessionId: this.sessionId,
      secret: this.secret,
      clientName: "flowspan-typescript",
      clientVersion: VERSION,
      clientLanguage: "typescript",
      hostname: hostname().slice(0, 256),
      processId: BigInt(process.pid),
      clientTime: timestamp(nowUs()),
      ackedSequence: BigInt(ackedSequence),
      resource: resourceOf(environ, {
        script: process.argv[1],
        host: hostname(),
        processId: process.pid,
      }),
      spansByService: !tracer.hasSdk,
      logsByService: !tracer.hasSdk && wantsLogs(environ),
      ...(otlpTarget === undefined ? {} : { otlpTarget }),
    });
  }

  private onVerdict(verdict: Verdict): void {
    if (verdict.kind === VerdictKind.ABORT) {
      const run = this.host.openRuns.get(verdict.runId);
      const error = new RunAbortedError(verdict.runId, verdict.rule, verdict.reason);
      run?.stopWith({ kind: "aborted", error, message: error.message });
      return;
    }
    if (verdict.kind !== VerdictKind.REJECTED) return;
    const key = `${verdict.runId} ${verdict.rule}`;
    if (this.warned.has(key) || this.warned.size >= 1000) return;
    this.warned.add(key);
    this.warn(
      `the service did not accept an event of the run ${verdict.runId}: ${verdict.reason} (${verdict.rule})`,
    );
  }

  private onCommand({ command }: Command): void {
    if (command.case !== "cancelRun") return;
    const { runId, reason } = command.value;
    const error = new RunCancelledError(runId, reason);
    // A command that is sent again finds a run that is stopped already.
    this.host.openRuns.get(runId)?.stopWith({ kind: "cancelled", error, message: reason });
  }

  private warn(message: string): void {
    const { onWarning } = this.parts.options;
    if (onWarning !== undefined) onWarning(message);
    else process.emitWarning(message, "FlowspanWarning");
  }
}
