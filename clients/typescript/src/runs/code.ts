/** The place of a call in the source of the user. */

import { isOwnFrame } from "../core/failures.js";
import { MAX_FILE_PATH_BYTES } from "../core/limits.js";
import { truncate } from "../core/text.js";

/** A place in source code. */
export interface Place {
  filePath: string;
  line: number;
  function: string;
}

const FRAME = /^\s*at (?:(.*?) \()?(?:file:\/\/)?(.*?):(\d+):\d+\)?$/;
const NODE_INTERNAL = /\(?node:/;

/** Return the innermost frame of the stack outside this package. */
export function callerPlace(functionName: string): Place | undefined {
  const stack = new Error().stack ?? "";
  for (const line of stack.split("\n").slice(1)) {
    if (isOwnFrame(line) || NODE_INTERNAL.test(line)) continue;
    const match = FRAME.exec(line);
    if (match === null) return undefined;
    const filePath = truncate(match[2] ?? "", MAX_FILE_PATH_BYTES);
    return { filePath, line: Number(match[3]), function: functionName };
  }
  return undefined;
}
