/** Ids of runs: UUIDv7, increasing within a process. */

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const POOL_BYTES = 4096;
const RANDOM_BYTES = 8;

const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;
let lastMs = 0;
let counter = 0;

function randomOffset(): number {
  if (used + RANDOM_BYTES > POOL_BYTES) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  const offset = used;
  used += RANDOM_BYTES;
  return offset;
}

function hex(byte: number): string {
  return HEX[byte & 0xff] as string;
}

/**
 * Return a new UUIDv7 in lower-case canonical form. Ids of one process sort in the order in which
 * they were made, also within a millisecond and after the clock was set back.
 */
export function newId(nowMs: number = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = 0;
  } else if (++counter > 0xfff) {
    lastMs += 1;
    counter = 0;
  }
  const high = Math.floor(lastMs / 0x1_0000_0000);
  const low = lastMs >>> 0;
  const at = randomOffset();
  const random = (index: number) => pool[at + index] as number;
  return (
    `${hex(high >> 8)}${hex(high)}${hex(low >>> 24)}${hex(low >>> 16)}-` +
    `${hex(low >>> 8)}${hex(low)}-${hex(0x70 | (counter >> 8))}${hex(counter)}-` +
    `${hex(0x80 | (random(0) & 0x3f))}${hex(random(1))}-` +
    `${hex(random(2))}${hex(random(3))}${hex(random(4))}${hex(random(5))}${hex(random(6))}${hex(random(7))}`
  );
}

/** Return random bytes of cryptographic quality. */
export function randomBytes(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** Return the 32 hex digits of an id, without dashes. */
export function idToHex(id: string): string {
  return id.replaceAll("-", "");
}

/** Return the canonical form of 32 hex digits. */
export function hexToId(digits: string): string {
  const text = digits.toLowerCase();
  return [
    text.slice(0, 8),
    text.slice(8, 12),
    text.slice(12, 16),
    text.slice(16, 20),
    text.slice(20),
  ].join("-");
}

/** Whether a text is a UUID in lower-case canonical form. */
export function isId(text: string): boolean {
  return UUID.test(text);
}
