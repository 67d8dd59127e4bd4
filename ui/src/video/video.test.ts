import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock } from "../state/clock";
import { Acknowledger, EVERY, WITHIN_MS } from "./acknowledge";
import { ASK_EVERY_MS, LATE_MS, MAX_UNDER_WAY, OVERLOAD_MS, PictureDecoder, type DecoderLike, type DecoderParts } from "./decode";
import { fit, outset } from "./fit";
import { follows, HEADER_BYTES, readHeader, type FrameHeader } from "./header";
import { Presenter, type FrameRequests } from "./present";
import { RETRY_MS, VideoConnection, type SocketLike } from "./connection";
import { NEXT, RawStream } from "./raw";
import { LatestSlot } from "./slot";
import { planesOf, toRgba } from "./yuv";

const HEADER: FrameHeader = { keyFrame: true, raw: false, width: 64, height: 32, seq: 0, rtpTimestamp: 0, capturedAtUs: 0 };

function message(seq: number, keyFrame: boolean, more: Partial<FrameHeader> = {}, payload = [9]): Uint8Array<ArrayBuffer> {
  const header = { ...HEADER, ...more, seq, keyFrame };
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 1);
  view.setUint8(1, (header.keyFrame ? 1 : 0) | (header.raw ? 2 : 0));
  view.setUint16(2, header.width, true);
  view.setUint16(4, header.height, true);
  view.setUint32(8, header.seq, true);
  view.setUint32(12, header.rtpTimestamp, true);
  view.setBigUint64(16, BigInt(header.capturedAtUs), true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

describe("readHeader", () => {
  it("reads the very bytes that the app's own test expects", () => {
    const bytes = new Uint8Array([1, 1, 0x00, 0x05, 0xd0, 0x02, 0, 0, 4, 3, 2, 1, 0xd0, 0xc0, 0xb0, 0xa0, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 7, 8, 9]);
    expect(readHeader(bytes)).toEqual({
      keyFrame: true,
      raw: false,
      width: 1280,
      height: 720,
      seq: 0x01020304,
      rtpTimestamp: 0xa0b0c0d0,
      capturedAtUs: 0x123456789a,
    });
  });

  it("reads from the middle of a buffer", () => {
    const whole = new Uint8Array(100);
    whole.set(message(7, false, { raw: true }), 30);
    expect(readHeader(whole.subarray(30))).toMatchObject({ seq: 7, raw: true, keyFrame: false });
  });

  it("refuses what is too short or of another version", () => {
    expect(readHeader(new Uint8Array(23))).toBeNull();
    expect(readHeader(message(0, true).fill(2, 0, 1))).toBeNull();
  });

  it("counts across the wrap", () => {
    expect(follows(0xffffffff, 0)).toBe(true);
    expect(follows(5, 6)).toBe(true);
    expect(follows(5, 7)).toBe(false);
  });
});

describe("Acknowledger", () => {
  let clock: ManualClock;
  let sent: number[];
  let acknowledger: Acknowledger;

  beforeEach(() => {
    clock = new ManualClock();
    sent = [];
    acknowledger = new Acknowledger(clock, (seq) => sent.push(seq));
  });

  it("speaks up after every fourth frame", () => {
    for (let seq = 0; seq < 2 * EVERY; seq++) acknowledger.took(seq);
    expect(sent).toEqual([EVERY - 1, 2 * EVERY - 1]);
    expect(clock.pending).toBe(0);
  });

  it("or 100 ms after the first frame without a word", () => {
    acknowledger.took(1);
    clock.advance(WITHIN_MS / 2);
    acknowledger.took(2);
    clock.advance(WITHIN_MS / 2);
    expect(sent).toEqual([2]);
    clock.advance(1000);
    expect(sent).toEqual([2]);
  });

  it("is silent once stopped", () => {
    acknowledger.took(1);
    acknowledger.stop();
    clock.advance(1000);
    expect(sent).toEqual([]);
  });
});

/** Stands in for WebCodecs: says what was done to it. */
class FakeDecoder implements DecoderLike {
  state = "unconfigured";
  decodeQueueSize = 0;
  decoded: string[] = [];
  /** Time stamps of what went in and has not come out. */
  inside: number[] = [];
  constructor(readonly init: { output: (frame: VideoFrame) => void; error: (error: Error) => void }) {}
  configure(): void {
    this.state = "configured";
  }
  decode(chunk: EncodedVideoChunk): void {
    if (this.state !== "configured") throw new Error("InvalidStateError");
    this.decoded.push(`${chunk.type}${chunk.timestamp}`);
    this.inside.push(chunk.timestamp);
  }
  /** Gives the pictures of the oldest `count` frames. */
  give(count = this.inside.length): void {
    for (const timestamp of this.inside.splice(0, count)) this.init.output({ timestamp, close: () => undefined } as unknown as VideoFrame);
  }
  reset(): void {
    this.state = "unconfigured";
  }
  close(): void {
    this.state = "closed";
  }
  fail(): void {
    this.state = "closed";
    this.init.error(new Error("EncodingError"));
  }
}

describe("PictureDecoder", () => {
  beforeAll(() => void vi.spyOn(console, "warn").mockImplementation(() => undefined));
  afterAll(() => void vi.restoreAllMocks());

  let clock: ManualClock;
  let decoders: FakeDecoder[];
  let asked: number;
  let decoder: PictureDecoder;
  let shown: number;

  const push = (seq: number, keyFrame = false) => {
    const bytes = message(seq, keyFrame, { capturedAtUs: seq });
    const header = readHeader(bytes);
    if (!header) throw new Error("a frame of our own");
    decoder.push(header, bytes);
  };
  const newest = () => decoders[decoders.length - 1] as FakeDecoder;

  beforeEach(() => {
    clock = new ManualClock();
    decoders = [];
    asked = 0;
    shown = 0;
    const parts: DecoderParts = {
      create: (init) => {
        const made = new FakeDecoder(init);
        decoders.push(made);
        return made;
      },
      chunk: (init) => init as unknown as EncodedVideoChunk,
    };
    decoder = new PictureDecoder(
      parts,
      clock,
      () => shown++,
      () => asked++,
    );
  });

  it("begins with a key frame, asking for one when others come first", () => {
    push(5);
    push(6);
    expect(decoders).toHaveLength(0);
    expect(asked).toBe(1);
    push(7, true);
    push(8);
    expect(newest().decoded).toEqual(["key7", "delta8"]);
    expect(decoder.counts).toMatchObject({ received: 4, discarded: 2, restarts: 0 });
  });

  it("asks no more than twice a second", () => {
    for (let seq = 0; seq < 30; seq++) {
      push(seq);
      clock.advance(33);
    }
    expect(asked).toBe(Math.ceil((30 * 33) / ASK_EVERY_MS));
  });

  it("discards everything after a gap until a key frame", () => {
    push(0, true);
    push(1);
    push(3);
    push(4);
    expect(asked).toBe(1);
    expect(newest().decoded).toEqual(["key0", "delta1"]);
    push(5, true);
    push(6);
    expect(decoders, "nothing is wrong with this one").toHaveLength(1);
    expect(newest().decoded.slice(2)).toEqual(["key5", "delta6"]);
    expect(decoder.counts).toMatchObject({ discarded: 2, restarts: 1 });
    expect(decoder.takeGivenUp(), "it was not behind").toBe(0);
  });

  it("takes a gap that ends in a key frame as it comes", () => {
    push(0, true);
    push(9, true);
    expect(decoders).toHaveLength(1);
    expect(newest().decoded).toEqual(["key0", "key9"]);
    expect(asked).toBe(0);
  });

  it("starts anew after an error, with another decoder", () => {
    push(0, true);
    newest().fail();
    push(1);
    expect(asked).toBe(1);
    push(2, true);
    expect(decoders).toHaveLength(2);
    expect(newest().decoded).toEqual(["key2"]);
  });

  it("survives a decoder that throws", () => {
    push(0, true);
    newest().state = "closed";
    push(1);
    expect(decoders).toHaveLength(2);
    push(2, true);
    expect(newest().decoded).toContain("key2");
  });

  it("decodes everything that came at once after a pause, without a key frame", () => {
    push(0, true);
    newest().give();
    for (let seq = 1; seq <= 20; seq++) push(seq);
    expect(newest().decoded).toHaveLength(21);
    newest().give();
    push(21);
    expect(asked).toBe(0);
    expect(decoder.counts).toMatchObject({ received: 22, decoded: 21, discarded: 0, restarts: 0 });
  });

  it("lets a decoder be some frames behind for as long as it likes", () => {
    push(0, true);
    newest().give();
    for (let seq = 1; seq < 300; seq++) {
      push(seq);
      if (seq > 8) newest().give(1);
      clock.advance(33);
    }
    expect(asked).toBe(0);
    expect(decoder.counts.discarded).toBe(0);
  });

  it("does not take a pause of the window's thread for an overload", () => {
    push(0, true);
    newest().give();
    push(1);
    push(2);
    clock.advance(3 * LATE_MS);
    // What came meanwhile is handed over first, then the pictures that were done long ago.
    for (let seq = 3; seq < 12; seq++) push(seq);
    newest().give();
    clock.advance(33);
    push(12);
    clock.advance(OVERLOAD_MS);
    push(13);
    expect(asked).toBe(0);
    expect(newest().decoded).toHaveLength(14);
  });

  /** A decoder that has run and gives no more pictures; returns the next number. */
  const stall = (): number => {
    push(0, true);
    newest().give();
    let seq = 1;
    for (; seq * 33 < LATE_MS + OVERLOAD_MS + 99; seq++) {
      push(seq);
      clock.advance(33);
    }
    return seq;
  };

  it("who stays behind discards up to a key frame, and shows what is inside meanwhile", () => {
    const next = stall();
    expect(asked).toBe(1);
    expect(decoder.counts).toMatchObject({ restarts: 1 });
    expect(decoder.counts.discarded).toBeGreaterThan(0);
    expect(decoder.takeGivenUp()).toBe(decoder.counts.discarded);
    expect(decoder.takeGivenUp(), "told already").toBe(0);
    const inside = newest().inside.length;
    newest().give();
    expect(shown).toBe(1 + inside);
    push(next, true);
    push(next + 1);
    expect(decoders, "it has caught up").toHaveLength(1);
    expect(newest().decoded.slice(-2)).toEqual([`key${next}`, `delta${next + 1}`]);
  });

  it("gives a decoder up that has not caught up by the key frame", () => {
    const next = stall();
    push(next, true);
    expect(decoders).toHaveLength(2);
    expect(decoders[0]?.state).toBe("closed");
    expect(newest().decoded).toEqual([`key${next}`]);
  });

  it("waits for a decoder that is being set up, then counts anew", () => {
    push(0, true);
    for (let seq = 1; seq < 40; seq++) {
      clock.advance(33);
      push(seq);
    }
    expect(asked).toBe(0);
    newest().give(1);
    clock.advance(OVERLOAD_MS);
    push(40);
    newest().give();
    expect(asked).toBe(0);
    expect(shown).toBe(41);
  });

  it.each([true, false])("never has more than so many frames inside (a decoder that says its queue: %s)", (says) => {
    push(0, true);
    for (let seq = 1; seq < 10 * MAX_UNDER_WAY; seq++) {
      push(seq, seq % 100 === 0);
      if (says) newest().decodeQueueSize = newest().inside.length;
    }
    for (const one of decoders) expect(one.inside.length).toBeLessThanOrEqual(MAX_UNDER_WAY);
    expect(decoders.filter((one) => one.state !== "closed")).toHaveLength(1);
    expect(asked).toBe(1);
  });

  it("does not wait for frames that are not to be shown", () => {
    push(0, true);
    newest().give();
    for (let seq = 1; seq < 200; seq += 2) {
      push(seq);
      push(seq + 1);
      newest().inside = newest().inside.slice(-1);
      newest().give();
      clock.advance(33);
    }
    expect(asked).toBe(0);
  });

  it("closes pictures of a decoder that was given up", () => {
    push(0, true);
    const old = newest();
    old.fail();
    let closed = false;
    old.init.output({ close: () => (closed = true) } as unknown as VideoFrame);
    expect(closed).toBe(true);
    expect(shown).toBe(0);
  });

  it("does nothing once closed", () => {
    push(0, true);
    decoder.close();
    push(1, true);
    expect(decoders).toHaveLength(1);
    expect(newest().state).toBe("closed");
  });
});

describe("drawing", () => {
  it("keeps the newest picture and closes the others", () => {
    const closed: number[] = [];
    const slot = new LatestSlot<{ id: number; close(): void }>();
    const picture = (id: number) => ({ id, close: () => closed.push(id) });
    slot.put(picture(1));
    slot.put(picture(2));
    expect(slot.take()?.id).toBe(2);
    expect(slot.take()).toBeNull();
    slot.put(picture(3));
    slot.clear();
    expect(closed).toEqual([1, 3]);
  });

  it("asks for one animation frame however much is new, and for none when nothing is", () => {
    const requests: (() => void)[] = [];
    let cancelled = 0;
    const frames: FrameRequests = { request: (callback) => requests.push(callback), cancel: () => cancelled++ };
    const presenter = new Presenter(frames);
    let drawn = 0;
    const draw = () => drawn++;
    presenter.schedule(draw);
    presenter.schedule(draw);
    expect(requests).toHaveLength(1);
    requests[0]?.();
    expect(drawn).toBe(1);
    presenter.schedule(draw);
    expect(requests).toHaveLength(2);
    presenter.cancel(draw);
    expect(cancelled).toBe(1);
  });

  it("fills a tile without distortion, or shows all of a picture", () => {
    const picture = { width: 1280, height: 720 };
    for (const tile of [{ width: 300, height: 600 }, { width: 900, height: 300 }, { width: 640, height: 360 }]) {
      const filled = fit(picture, tile, false);
      expect(filled.target).toEqual({ x: 0, y: 0, ...tile });
      expect(filled.source.width / filled.source.height).toBeCloseTo(tile.width / tile.height, 5);
      expect(filled.source.x).toBeGreaterThanOrEqual(0);
      expect(filled.source.y + filled.source.height).toBeLessThanOrEqual(720.001);
      const all = outset(picture, filled.source, filled.target);
      expect(all.width / all.height).toBeCloseTo(16 / 9, 5);
      expect(all.x).toBeLessThanOrEqual(0.001);
      expect(all.x + all.width).toBeGreaterThanOrEqual(tile.width - 0.001);
      expect(all.y + all.height).toBeGreaterThanOrEqual(tile.height - 0.001);
      const whole = fit(picture, tile, true);
      expect(whole.source).toEqual({ x: 0, y: 0, ...picture });
      expect(whole.target.width / whole.target.height).toBeCloseTo(16 / 9, 5);
      expect(whole.target.width).toBeLessThanOrEqual(tile.width + 0.001);
    }
  });
});

describe("raw pictures", () => {
  it("are planes without padding, also for odd sizes", () => {
    const picture = planesOf(3, 3, new Uint8Array(9 + 4 + 4));
    expect(picture?.y).toHaveLength(9);
    expect(picture?.v).toHaveLength(4);
    expect(planesOf(3, 3, new Uint8Array(16))).toBeNull();
    expect(planesOf(0, 3, new Uint8Array(16))).toBeNull();
  });

  it("become the colours that BT.601 says", () => {
    const colour = (y: number, u: number, v: number) => {
      const out = new Uint8ClampedArray(4);
      toRgba({ width: 1, height: 1, y: new Uint8Array([y]), u: new Uint8Array([u]), v: new Uint8Array([v]) }, out);
      return [...out];
    };
    expect(colour(16, 128, 128)).toEqual([0, 0, 0, 255]);
    expect(colour(235, 128, 128)).toEqual([255, 255, 255, 255]);
    expect(colour(81, 90, 240)).toEqual([254, 0, 0, 255]);
    expect(colour(41, 240, 110)).toEqual([0, 0, 255, 255]);
  });

  class FakeSocket implements SocketLike {
    binaryType = "";
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: unknown }) => void) | null = null;
    onclose: (() => void) | null = null;
    sent: string[] = [];
    closed = false;
    constructor(readonly url: string) {}
    send(text: string): void {
      this.sent.push(text);
    }
    close(): void {
      this.closed = true;
    }
  }

  it("come one at a time: the next is asked for when this one is drawn", async () => {
    const clock = new ManualClock();
    const sockets: FakeSocket[] = [];
    const drawn: (() => void)[] = [];
    let offers = 0;
    const stream = new RawStream(
      async () => ({ url: "ws://127.0.0.1:9/video", token: `t ${++offers}` }),
      clock,
      (_, done) => drawn.push(done),
      (url) => {
        const socket = new FakeSocket(url);
        sockets.push(socket);
        return socket;
      },
    );
    await Promise.resolve();
    const first = sockets[0] as FakeSocket;
    expect(first.url).toBe("ws://127.0.0.1:9/video?token=t%201");
    expect(first.binaryType).toBe("arraybuffer");
    first.onopen?.();
    expect(first.sent).toEqual([NEXT]);
    const picture = message(0, false, { raw: true, width: 2, height: 2 }, [1, 2, 3, 4, 5, 6]);
    first.onmessage?.({ data: picture.buffer });
    expect(first.sent).toHaveLength(1);
    drawn[0]?.();
    expect(first.sent).toEqual([NEXT, NEXT]);
    first.onmessage?.({ data: new Uint8Array(3).buffer });
    expect(first.sent).toHaveLength(3);
    expect(drawn).toHaveLength(1);

    first.onclose?.();
    clock.advance(RETRY_MS);
    await Promise.resolve();
    await Promise.resolve();
    expect(sockets).toHaveLength(2);
    expect(sockets[1]?.url).toContain("token=t%202");
    stream.close();
    expect(sockets[1]?.closed).toBe(true);
    sockets[1]?.onclose?.();
    clock.advance(10 * RETRY_MS);
    await Promise.resolve();
    expect(sockets).toHaveLength(2);
  });

  it("said too early wait for the connection, and not for the one after", async () => {
    const clock = new ManualClock();
    const sockets: FakeSocket[] = [];
    const connection = new VideoConnection({
      open: async () => ({ url: "ws://127.0.0.1:9/video", token: "t" }),
      clock,
      message: () => undefined,
      connect: (url) => {
        const socket = new FakeSocket(url);
        sockets.push(socket);
        return socket;
      },
    });
    connection.send("3");
    await Promise.resolve();
    expect(sockets[0]?.sent).toEqual([]);
    sockets[0]?.onopen?.();
    connection.send("key");
    expect(sockets[0]?.sent).toEqual(["3", "key"]);
    sockets[0]?.onclose?.();
    connection.close();
    clock.advance(10 * RETRY_MS);
    await Promise.resolve();
    expect(sockets).toHaveLength(1);
  });
});
