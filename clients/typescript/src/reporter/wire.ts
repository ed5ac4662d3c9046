/** The wire format of Protobuf, as far as frames are put together from encoded parts. */

import { WireType } from "@bufbuild/protobuf/wire";

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

function readVarint(data: Uint8Array, start: number): number {
  let value = 0;
  let factor = 1;
  for (let at = start; ; factor *= 0x80) {
    const byte = data[at++] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
}

function afterVarint(data: Uint8Array, start: number): number {
  let at = start;
  while ((data[at] ?? 0) > 0x7f) at++;
  return at + 1;
}

/** Return the index at which the content of a field of a message begins, by the index of its tag. */
export function contentOf(data: Uint8Array, tagAt: number): number {
  return afterVarint(data, afterVarint(data, tagAt));
}

/**
 * Find a field of a message.
 *
 * @param start - The index at which the message begins.
 * @returns The index of the tag of the field.
 * @throws RangeError - The message has no such field.
 */
export function findField(data: Uint8Array, start: number, number: number): number {
  for (let at = start; at < data.length; ) {
    const tag = readVarint(data, at);
    if (tag >> 3 === number) return at;
    at = afterField(data, at, tag & 7);
  }
  throw new RangeError(`the message has no field ${number}`);
}

/** Return the index after a field, by the index of its tag. */
export function afterField(data: Uint8Array, tagAt: number, type: WireType): number {
  const at = afterVarint(data, tagAt);
  if (type === WireType.Bit64) return at + 8;
  if (type === WireType.Bit32) return at + 4;
  const next = afterVarint(data, at);
  return type === WireType.LengthDelimited ? next + readVarint(data, at) : next;
}
