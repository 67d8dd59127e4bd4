// Encoded VP8 to pictures, through WebCodecs. A frame after a gap, an error or an overload cannot
// be decoded, or would come late: everything up to the next key frame is discarded then.

import type { Clock } from "../state/clock";
import { follows, HEADER_BYTES, type FrameHeader } from "./header";

/** Frames waiting inside the decoder from which we are too slow: 100 ms at 30 per second. */
export const MAX_QUEUE = 3;
/** Key frames are asked for at most this often; the app coalesces as well. */
export const ASK_EVERY_MS = 500;

/** The part of WebCodecs that is used here, so that tests can stand in for it. */
export interface DecoderLike {
  readonly state: string;
  readonly decodeQueueSize: number;
  configure(config: VideoDecoderConfig): void;
  decode(chunk: EncodedVideoChunk): void;
  reset(): void;
  close(): void;
}

export interface DecoderParts {
  create(init: { output: (frame: VideoFrame) => void; error: (error: Error) => void }): DecoderLike;
  chunk(init: EncodedVideoChunkInit): EncodedVideoChunk;
}

export const webCodecs: DecoderParts = {
  create: (init) => new VideoDecoder(init),
  chunk: (init) => new EncodedVideoChunk(init),
};

export interface DecodeCounts {
  received: number;
  decoded: number;
  /** Frames that were discarded while waiting for a key frame. */
  discarded: number;
  /** Times that decoding had to begin anew. */
  restarts: number;
}

export class PictureDecoder {
  readonly counts: DecodeCounts = { received: 0, decoded: 0, discarded: 0, restarts: 0 };
  #decoder: DecoderLike | null = null;
  #waitsForKey = true;
  #lastSeq: number | null = null;
  #askedAt = -Infinity;
  #closed = false;

  constructor(
    private readonly parts: DecoderParts,
    private readonly clock: Clock,
    private readonly output: (frame: VideoFrame) => void,
    private readonly askForKeyFrame: () => void,
  ) {}

  /** The next frame from the channel, header included. */
  push(header: FrameHeader, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    this.counts.received++;
    const gap = this.#lastSeq !== null && !follows(this.#lastSeq, header.seq);
    this.#lastSeq = header.seq;
    if (gap && !header.keyFrame && !this.#waitsForKey) this.#begin();
    if (this.#decoder && this.#decoder.decodeQueueSize > MAX_QUEUE && !this.#waitsForKey) this.#begin();
    if (this.#waitsForKey && !header.keyFrame) {
      this.counts.discarded++;
      this.#ask();
      return;
    }
    this.#decode(header, bytes);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #decode(header: FrameHeader, bytes: Uint8Array<ArrayBuffer>): void {
    try {
      const decoder = this.#ready(header);
      decoder.decode(
        this.parts.chunk({
          type: header.keyFrame ? "key" : "delta",
          timestamp: header.capturedAtUs,
          data: bytes.subarray(HEADER_BYTES),
        }),
      );
      this.#waitsForKey = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  #ready(header: FrameHeader): DecoderLike {
    if (this.#decoder && this.#decoder.state === "configured") return this.#decoder;
    this.#drop();
    const decoder: DecoderLike = this.parts.create({
      output: (frame) => {
        if (decoder !== this.#decoder) {
          frame.close();
          return;
        }
        this.counts.decoded++;
        this.output(frame);
      },
      error: (error) => {
        if (decoder === this.#decoder) this.#failed(error);
      },
    });
    this.#decoder = decoder;
    decoder.configure({
      codec: "vp8",
      codedWidth: header.width,
      codedHeight: header.height,
      optimizeForLatency: true,
    });
    return decoder;
  }

  /** Forgets what is on its way and waits for a key frame. */
  #begin(): void {
    this.counts.restarts++;
    this.#waitsForKey = true;
    this.#drop();
    this.#ask();
  }

  /** After an error WebCodecs has closed the decoder for good. */
  #failed(error: unknown): void {
    console.warn("picture not decoded, waiting for a key frame", error);
    this.#begin();
  }

  #drop(): void {
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== "closed") {
      try {
        decoder.close();
      } catch (error) {
        console.debug("closing a decoder", error);
      }
    }
  }

  #ask(): void {
    const now = this.clock.now();
    if (now - this.#askedAt < ASK_EVERY_MS) return;
    this.#askedAt = now;
    this.askForKeyFrame();
  }
}

/** Whether this webview decodes VP8. Asked once per window. */
export async function decodesVp8(): Promise<boolean> {
  if (typeof VideoDecoder === "undefined" || typeof EncodedVideoChunk === "undefined") return false;
  try {
    const { supported } = await VideoDecoder.isConfigSupported({ codec: "vp8", codedWidth: 1280, codedHeight: 720 });
    return supported === true;
  } catch {
    return false;
  }
}
