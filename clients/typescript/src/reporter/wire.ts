/** The wire format of Protobuf, as far as frames are put together from encoded parts. */

import { WireType } from "@bufbuild/protobuf/wire";

/** The bytes of a varint are read as a number: lengths and tags fit. */
interface Varint {
  value: number;
  /** The index after it. */
  end: number;
}

/** Return the size of a varint in bytes. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Write a varint. Returns the index after it. */
export function putVarint(data: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) data[at++] = (rest % 0x80) | 0x80;
  data[at++] = rest;
  return at;
}

function readVarint(data: Uint8Array, start: number): Varint {
  let value = 0;
  let factor = 1;
  let at = start;
  for (; ; factor *= 0x80) {
    const byte = data[at++] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return { value, end: at };
  }
}

/** Return the content of the first field of a message, which must be a message, text or bytes. */
export function firstField(message: Uint8Array): Uint8Array {
  const tag = readVarint(message, 0);
  const length = readVarint(message, tag.end);
  return message.subarray(length.end, length.end + length.value);
}

/**
 * Return the content of a field of a message: of a message, text or bytes.
 *
 * @throws RangeError - The message has no such field.
 */
export function fieldOf(message: Uint8Array, number: number): Uint8Array {
  for (let at = 0; at < message.length; ) {
    const tag = readVarint(message, at);
    const type = tag.value & 7;
    const first =
      type === WireType.Bit64 || type === WireType.Bit32 ? undefined : readVarint(message, tag.end);
    if (type === WireType.LengthDelimited && first !== undefined) {
      const end = first.end + first.value;
      if (tag.value >> 3 === number) return message.subarray(first.end, end);
      at = end;
    } else {
      at = first?.end ?? tag.end + (type === WireType.Bit64 ? 8 : 4);
    }
  }
  throw new RangeError(`the message has no field ${number}`);
}
