/** A scripted service, for what the real one does not do on request. */

import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from "node:http2";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  type Event,
  EventSchema,
  type Hello,
  WelcomeSchema,
} from "../../src/gen/flowspan/v1/report_pb.js";
import {
  type ReportRequest,
  type ReportResponse,
  ReportResponseSchema,
  ReportService,
} from "../../src/gen/flowspan/v1/report_service_pb.js";
import { StateType } from "../../src/gen/flowspan/v1/state_pb.js";
import { SystemService } from "../../src/gen/flowspan/v1/system_service_pb.js";

/** What a connection of the scripted service does. */
export type Script = (connection: PeerConnection) => AsyncGenerator<ReportResponse>;

/** A connection, as the script sees it. */
export class PeerConnection {
  constructor(
    readonly number: number,
    readonly hello: Hello,
    private readonly requests: AsyncIterator<ReportRequest>,
    private readonly peer: Peer,
  ) {}

  /** Return the next frame; undefined after the last one. */
  async next(): Promise<ReportRequest | undefined> {
    const result = await this.requests.next();
    if (result.done) return undefined;
    this.peer.take(result.value);
    return result.value;
  }
}

/** Answer a frame of the stream. */
export function answer(frame: ReportResponse["frame"]): ReportResponse {
  return create(ReportResponseSchema, { frame });
}

/** Return an event, or the three that an event of a short run stands for. */
function partsOf(event: Event): Event[] {
  if (event.event.case !== "runCompleted") return [event];
  const { created, startTime, ended } = event.event.value;
  const runId = created?.runId ?? "";
  const running = { type: StateType.RUNNING, name: "Running", time: startTime as never };
  const part = (state: unknown) =>
    create(EventSchema, {
      event: { case: "stateEntered", value: { runId, attempt: 1, state: state as never } },
    });
  const creation = { case: "runCreated", value: created as never } as const;
  return [create(EventSchema, { event: creation }), part(running), part(ended)];
}

export class Peer {
  /** The frames of all connections, in order. */
  readonly frames: ReportRequest[] = [];
  readonly hellos: Hello[] = [];
  /** The header `authorization` of each stream. */
  readonly tokens: string[] = [];
  /** The events by their sequence, as they came last; those of a short run as three. */
  readonly events = new Map<number, Event>();
  /** Sequences that came although their predecessor never did. */
  readonly gaps: number[] = [];
  goodbyes = 0;
  stored = 0;
  /** The number of connections that are cut as soon as they are open. */
  toCut = 0;
  private readonly server: Http2Server | Http2SecureServer;
  private readonly sessions = new Set<ServerHttp2Session>();
  private port = 0;

  constructor(
    private readonly script: Script,
    readonly capabilities: string[] = [],
    secure?: { key: Buffer; cert: Buffer },
  ) {
    const routes = (router: ConnectRouter) => {
      router.service(SystemService, { getInfo: () => ({ version: "scripted", capabilities }) });
      router.service(ReportService, {
        report: (requests: AsyncIterable<ReportRequest>, context: HandlerContext) => {
          this.tokens.push(context.requestHeader.get("authorization") ?? "");
          return this.serve(requests);
        },
      });
    };
    const handler = connectNodeAdapter({ routes });
    this.server =
      secure === undefined ? createServer(handler) : createSecureServer(secure, handler);
    this.server.on("session", (session) => {
      if (this.toCut > 0) {
        this.toCut--;
        session.destroy();
        return;
      }
      this.sessions.add(session);
      session.on("close", () => this.sessions.delete(session));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(this.port, "127.0.0.1", resolve));
    const address = this.server.address();
    if (address !== null && typeof address === "object") this.port = address.port;
    return this;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Break all connections. */
  cut(): void {
    for (const session of this.sessions) session.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  take(frame: ReportRequest): void {
    this.frames.push(frame);
    if (frame.frame.case === "goodbye") this.goodbyes++;
    if (frame.frame.case !== "batch") return;
    const first = Number(frame.frame.value.firstSequence);
    frame.frame.value.events.flatMap(partsOf).forEach((event, index) => {
      const sequence = first + index;
      if (sequence > 1 && !this.events.has(sequence - 1)) this.gaps.push(sequence);
      this.events.set(sequence, event);
    });
  }

  /** Return the frame Welcome. */
  welcome(more: MessageInitShape<typeof WelcomeSchema> = {}): ReportResponse {
    const value = create(WelcomeSchema, {
      resumeAfter: BigInt(this.stored),
      maxBatchBytes: 1n << 20n,
      maxFrameBytes: 1n << 20n,
      maxUnackedEvents: 20_000n,
      lease: { seconds: 30n },
      capabilities: this.capabilities,
      ...(more as object),
    });
    return create(ReportResponseSchema, { frame: { case: "welcome", value } });
  }

  /** Return an ack of everything that came, which is stored. */
  ackAll(): ReportResponse {
    this.stored = Math.max(this.stored, ...this.events.keys());
    return answer({ case: "ack", value: { upToSequence: BigInt(this.stored) } as never });
  }

  /** The default script: welcome, and an ack for each batch. */
  static async *obedient(peer: Peer, connection: PeerConnection, from?: ReportResponse) {
    yield from ?? peer.welcome();
    for (;;) {
      const frame = await connection.next();
      if (frame === undefined || frame.frame.case === "goodbye") return;
      if (frame.frame.case === "batch") yield peer.ackAll();
    }
  }

  private async *serve(requests: AsyncIterable<ReportRequest>): AsyncGenerator<ReportResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const first = (await iterator.next()).value as ReportRequest;
    if (first.frame.case !== "hello") throw new Error("no Hello");
    this.hellos.push(first.frame.value);
    yield* this.script(new PeerConnection(this.hellos.length, first.frame.value, iterator, this));
  }

  /** The size of each frame with events, in bytes of its events. */
  get batches() {
    return this.frames.flatMap((each) => (each.frame.case === "batch" ? [each.frame.value] : []));
  }
}
