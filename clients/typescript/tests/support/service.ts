/** The real service, as a process of the test. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../../../../", import.meta.url));
const COMMAND = (process.env.FLOWSPAN_TEST_SERVICE ?? join(REPOSITORY, ".venv/bin/flowspan")).split(
  " ",
);
const START_TIMEOUT_MS = 50_000;

/** A service with a database of its own. It keeps its port when it is started again. */
export class Service {
  readonly home = mkdtempSync(join(tmpdir(), "flowspan-ts-"));
  log = "";
  private port = 0;
  private httpPort = 0;
  private child: ChildProcess | undefined;

  /** @param flags - Further flags of `flowspan server start`. */
  constructor(private readonly flags: string[] = []) {}

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get httpAddress(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  async start(): Promise<this> {
    this.port ||= await freePort();
    this.httpPort ||= await freePort();
    const [program, ...first] = COMMAND as [string, ...string[]];
    const flags = [
      "server",
      "start",
      "--port",
      String(this.port),
      "--http-port",
      String(this.httpPort),
      "--home",
      this.home,
    ];
    const { FLOWSPAN_ADDRESS: _, ...env } = process.env;
    const child = spawn(program, [...first, ...flags, ...this.flags], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child = child;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`not ready:\n${this.log}`)),
        START_TIMEOUT_MS,
      );
      const read = (data: Buffer) => {
        this.log += data;
        if (!/is ready at/.test(this.log)) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout?.on("data", read);
      child.stderr?.on("data", read);
      child.once("error", reject);
      child.once("exit", (code) => {
        clearTimeout(timer);
        reject(new Error(`the service ended (code ${code}):\n${this.log}`));
      });
    });
    return this;
  }

  /** Kill the process, so that nothing of it is tidied up. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** Stop the service and remove its folder. */
  async stop(): Promise<void> {
    await this.end("SIGTERM");
    rmSync(this.home, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    this.child = undefined;
    this.log = "";
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
