/** What several programs of the idiom tier share. */

import { createInterface } from "node:readline";

/**
 * Wait for a line of the test.
 *
 * The input is read only meanwhile, so that it does not keep the process alive.
 */
export async function line(): Promise<string> {
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const text of lines) return text;
  } finally {
    lines.close();
  }
  throw new Error("the test writes no more lines");
}
