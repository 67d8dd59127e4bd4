// Encoded VP8 to pictures, through WebCodecs. Every frame is decoded, because the next one builds on
// it; whoever draws takes the newest. A hiccup is caught up with that way: decoding a frame takes a
// fraction of the time that it is shown. Only who stays behind, or has a gap, discards frames, up to
// the next key frame.

import type { Clock } from "../state/clock";
import { follows, HEADER_BYTES, type FrameHeader } from "./header";

/** A picture that has not come this long after its frame went into the decoder is late. */
export const LATE_MS = 400;
/** Pictures have to be late this long for an overload. After a pause of the window's thread they are
 * late for a moment, and done: their callbacks come with the next frames. */
export const OVERLOAD_MS = 100;
/** Frames in the decoder at most, whatever the clock says, and while it starts: 2 s at 30 per second. */
export const MAX_UNDER_WAY = 60;
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
  /** Frames in the decoder, oldest first: their time stamps, and when they went in. */
  #underWay: { timestamp: number; at: number }[] = [];
  #lateSince: number | null = null;
  /** The decoder has given a picture: until then it is being set up, which takes as long as it takes. */
  #runs = false;
  #waitsForKey = true;
  /** It waits because it was overloaded. */
  #behind = false;
  #givenUp = 0;
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
    const overloaded = this.#isOverloaded();
    if (header.keyFrame) {
      // Nobody has to wait for what is in there: this one begins anew.
      if (overloaded) this.#drop();
    } else {
      if ((gap || overloaded) && !this.#waitsForKey) this.#waitForKey(overloaded);
      if (this.#waitsForKey) {
        this.counts.discarded++;
        if (this.#behind) this.#givenUp++;
        this.#ask();
        return;
      }
    }
    this.#decode(header, bytes);
  }

  /** Frames that were discarded for an overload since the last call. */
  takeGivenUp(): number {
    const givenUp = this.#givenUp;
    this.#givenUp = 0;
    return givenUp;
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #decode(header: FrameHeader, bytes: Uint8Array<ArrayBuffer>): void {
    try {
      const decoder = this.#ready(header);
      this.#underWay.push({ timestamp: header.capturedAtUs, at: this.clock.now() });
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
        this.#came(frame.timestamp);
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

  /** Pictures come in the order of their frames; a frame that is not to be shown has none. */
  #came(timestamp: number): void {
    this.counts.decoded++;
    this.#underWay.shift();
    while (this.#underWay[0] && this.#underWay[0].timestamp <= timestamp) this.#underWay.shift();
    if (this.#runs) return;
    this.#runs = true;
    for (const frame of this.#underWay) frame.at = this.clock.now();
  }

  #isOverloaded(): boolean {
    const now = this.clock.now();
    const oldest = this.#underWay[0];
    if (this.#runs && oldest && now - oldest.at >= LATE_MS) this.#lateSince ??= now;
    else this.#lateSince = null;
    const full = Math.max(this.#underWay.length, this.#decoder?.decodeQueueSize ?? 0) >= MAX_UNDER_WAY;
    return full || (this.#lateSince !== null && now - this.#lateSince >= OVERLOAD_MS);
  }

  /** Takes nothing more up to a key frame. What is in the decoder is still shown. */
  #waitForKey(behind: boolean): void {
    this.counts.restarts++;
    this.#waitsForKey = true;
    this.#behind = behind;
    this.#ask();
  }

  /** After an error WebCodecs has closed the decoder for good. */
  #failed(error: unknown): void {
    console.warn("picture not decoded, waiting for a key frame", error);
    this.#drop();
    this.#waitForKey(false);
  }

  #drop(): void {
    const decoder = this.#decoder;
    this.#decoder = null;
    this.#underWay = [];
    this.#lateSince = null;
    this.#runs = false;
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
