/** Programs of the test in processes of their own. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const FILE = fileURLToPath(new URL("../programs/run.ts", import.meta.url));

/** A running program of tests/programs/run.ts. */
export class Program {
  output = "";
  errors = "";
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private readonly child: ChildProcess;

  constructor(name: string, environ: Record<string, string>) {
    const env = { ...process.env, ...environ };
    this.child = spawn(process.execPath, ["--import", "tsx", FILE, name], { env });
    this.child.stdout?.on("data", (data) => {
      this.output += data;
    });
    this.child.stderr?.on("data", (data) => {
      this.errors += data;
    });
    this.ended = new Promise((resolve) =>
      this.child.on("exit", (code, signal) => resolve({ code, signal })),
    );
  }

  /** Wait for the first line of its output. */
  async firstLine(): Promise<string> {
    const deadline = Date.now() + 40_000;
    while (!this.output.includes("\n")) {
      if (Date.now() > deadline || this.child.exitCode !== null)
        throw new Error(`no output: ${this.errors}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return this.output.split("\n")[0] as string;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}
