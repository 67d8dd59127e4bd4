// The 24 bytes before every picture, little endian. The Rust side writes the same (src-tauri).
//
//  0 u8  version, 1          8 u32 sequence number, up by one per frame sent, wraps
//  1 u8  flags              12 u32 RTP timestamp, 90 kHz
//  2 u16 width              16 u64 time of capture or arrival, µs, monotonic
//  4 u16 height
//  6 u16 reserved

export const HEADER_BYTES = 24;
const VERSION = 1;
const KEY_FRAME = 1;
const RAW_I420 = 2;

export interface FrameHeader {
  keyFrame: boolean;
  raw: boolean;
  width: number;
  height: number;
  seq: number;
  rtpTimestamp: number;
  capturedAtUs: number;
}

/** `null` for anything that is no frame of this version. */
export function readHeader(bytes: Uint8Array): FrameHeader | null {
  if (bytes.byteLength < HEADER_BYTES || bytes[0] !== VERSION) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const flags = view.getUint8(1);
  return {
    keyFrame: (flags & KEY_FRAME) !== 0,
    raw: (flags & RAW_I420) !== 0,
    width: view.getUint16(2, true),
    height: view.getUint16(4, true),
    seq: view.getUint32(8, true),
    rtpTimestamp: view.getUint32(12, true),
    capturedAtUs: Number(view.getBigUint64(16, true)),
  };
}

/** Whether `next` comes directly after `seq`, with the wrap at 2^32. */
export function follows(seq: number, next: number): boolean {
  return ((seq + 1) >>> 0) === next;
}
