/**
 * Writes messages in the wire format of Protobuf.
 *
 * A run has at least three events, and most of the time of a small task would be spent on making and
 * encoding their messages. This writer needs no messages, and shares its memory among many events.
 */

import { WireType } from "@bufbuild/protobuf/wire";
import { putVarint, varintSize } from "./wire.js";

const SLAB_BYTES = 64 << 10;
/** Longer texts are encoded elsewhere, because UTF-8 may need three times their length. */
const LONG_TEXT = 1024;
const LONGEST_VARINT = 8;
const US_PER_S = 1_000_000;

const encoder = new TextEncoder();

/** See the module. */
export class Writer {
  private slab = new Uint8Array(SLAB_BYTES);
  /** The index of the first byte that was not handed out. */
  private start = 0;
  private at = 0;

  /** Return what was written since the last call. Its memory is not written again. */
  finish(): Uint8Array {
    const data = this.slab.subarray(this.start, this.at);
    this.start = this.at;
    return data;
  }

  /** Begin a message in a field. Returns a mark for `end`. */
  begin(field: number): number {
    this.tag(field, WireType.LengthDelimited);
    // A place for the length, if it is small.
    this.at++;
    return this.at - this.start;
  }

  /** End a message. */
  end(mark: number): void {
    const first = this.start + mark;
    const size = this.at - first;
    const further = varintSize(size) - 1;
    if (further > 0) {
      this.reserve(further);
      const from = this.start + mark;
      this.slab.copyWithin(from + further, from, this.at);
      this.at += further;
    }
    putVarint(this.slab, this.start + mark - 1, size);
  }

  /** Write a text, unless it is empty. */
  text(field: number, text: string): void {
    if (text === "") return;
    if (text.length > LONG_TEXT) {
      this.bytes(field, encoder.encode(text));
      return;
    }
    this.tag(field, WireType.LengthDelimited);
    this.reserve(LONGEST_VARINT + 3 * text.length);
    if (text.length > 0x7f || !this.ascii(text)) this.utf8(text);
  }

  /** Write bytes. */
  bytes(field: number, data: Uint8Array): void {
    this.tag(field, WireType.LengthDelimited);
    this.reserve(LONGEST_VARINT + data.length);
    this.at = putVarint(this.slab, this.at, data.length);
    this.raw(data);
  }

  /** Write a number that is not negative, unless it is 0. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.tag(field, WireType.Varint);
    this.at = putVarint(this.slab, this.at, value);
  }

  /** Write a google.protobuf.Timestamp. */
  timestamp(field: number, us: number): void {
    const mark = this.begin(field);
    const seconds = Math.floor(us / US_PER_S);
    this.number(1, seconds);
    this.number(2, (us - seconds * US_PER_S) * 1000);
    this.end(mark);
  }

  /** Write bytes that are encoded already. */
  raw(data: Uint8Array): void {
    this.reserve(data.length);
    this.slab.set(data, this.at);
    this.at += data.length;
  }

  /** Write the tag of a field. There is room for a number after it. */
  private tag(field: number, type: WireType): void {
    this.reserve(2 * LONGEST_VARINT);
    this.at = putVarint(this.slab, this.at, (field << 3) | type);
  }

  private ascii(text: string): boolean {
    const { slab } = this;
    let at = this.at;
    slab[at++] = text.length;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return false;
      slab[at++] = unit;
    }
    this.at = at;
    return true;
  }

  private utf8(text: string): void {
    // One byte for the length is enough for short texts, and two for all of these.
    const room = text.length * 3 > 0x7f ? 2 : 1;
    const from = this.at + room;
    const size = encoder.encodeInto(text, this.slab.subarray(from)).written;
    const before = varintSize(size);
    if (before < room) this.slab.copyWithin(this.at + before, from, from + size);
    this.at = putVarint(this.slab, this.at, size) + size;
  }

  private reserve(size: number): void {
    if (this.at + size <= this.slab.length) return;
    const written = this.at - this.start;
    const slab = new Uint8Array(Math.max(SLAB_BYTES, 2 * (written + size)));
    slab.set(this.slab.subarray(this.start, this.at));
    this.slab = slab;
    this.start = 0;
    this.at = written;
  }
}
