/** Text within the limits of the protocol: UTF-8 without NUL, of a limited size. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();
// A UTF-16 code unit has at most three bytes in UTF-8.
const BYTES_PER_UNIT = 3;

/** Return the size of a text in UTF-8, in bytes. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** Replace what the service refuses: NUL characters, and halves of surrogate pairs. */
export function clean(text: string): string {
  const whole = isWellFormed(text) ? text : decoder.decode(encoder.encode(text));
  return whole.includes("\0") ? whole.replaceAll("\0", "␀") : whole;
}

function isWellFormed(text: string): boolean {
  return !/[\ud800-\udfff]/.test(text) || !/\p{Surrogate}/u.test(text);
}

/** Cut the end of a text that exceeds a limit in bytes. Never splits a character. */
export function truncate(text: string, maxBytes: number): string {
  const safe = clean(text);
  if (safe.length * BYTES_PER_UNIT <= maxBytes) return safe;
  const bytes = encoder.encode(safe);
  if (bytes.length <= maxBytes) return safe;
  return decoder.decode(bytes.subarray(0, boundary(bytes, maxBytes)));
}

/** Cut the middle out of a text that exceeds a limit in bytes, and say how much was left out. */
export function shorten(text: string, maxBytes: number): string {
  const safe = clean(text);
  if (safe.length * BYTES_PER_UNIT <= maxBytes) return safe;
  const bytes = encoder.encode(safe);
  if (bytes.length <= maxBytes) return safe;
  const half = (maxBytes - 64) >> 1;
  const head = boundary(bytes, half);
  const tail = boundary(bytes, bytes.length - half);
  return (
    `${decoder.decode(bytes.subarray(0, head))}\n… ${tail - head} bytes left out …\n` +
    decoder.decode(bytes.subarray(tail))
  );
}

/** Split a text into pieces of at most a number of bytes, at characters. At least one piece. */
export function chunks(text: string, maxBytes: number): string[] {
  if (text.length * BYTES_PER_UNIT <= maxBytes) return [text];
  const bytes = encoder.encode(text);
  const pieces: string[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = boundary(bytes, Math.min(start + maxBytes, bytes.length));
    pieces.push(decoder.decode(bytes.subarray(start, end)));
    start = end;
  }
  return pieces.length === 0 ? [""] : pieces;
}

/** Return the greatest index up to the given one at which a character begins. */
function boundary(bytes: Uint8Array, index: number): number {
  let at = index;
  while (at > 0 && at < bytes.length && ((bytes[at] as number) & 0xc0) === 0x80) at--;
  return at;
}
