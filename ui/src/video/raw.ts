// Raw pictures over a loopback WebSocket, for webviews that do not decode VP8. One credit: the app
// sends the next picture when this one has been drawn, and its newest one then.

import type { RawVideo } from "../bindings";
import type { Clock } from "../state/clock";
import { HEADER_BYTES, readHeader } from "./header";
import { planesOf, type I420 } from "./yuv";

/** What asks for the next picture. */
export const NEXT = "next";
/** A broken connection is tried again after this time. */
export const RETRY_MS = 1000;

export interface SocketLike {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export class RawStream {
  #socket: SocketLike | null = null;
  #closed = false;
  #timer: number | null = null;

  constructor(
    private readonly open: () => Promise<RawVideo>,
    private readonly clock: Clock,
    private readonly picture: (picture: I420, drawn: () => void) => void,
    private readonly connect: (url: string) => SocketLike = (url) => new WebSocket(url) as unknown as SocketLike,
  ) {
    void this.#begin();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) this.clock.clear(this.#timer);
    this.#socket?.close();
    this.#socket = null;
  }

  async #begin(): Promise<void> {
    let address: RawVideo;
    try {
      address = await this.open();
    } catch (error) {
      console.warn("no raw pictures", error);
      this.#again();
      return;
    }
    if (this.#closed) return;
    const socket = this.connect(addressOf(address));
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(NEXT);
    socket.onmessage = ({ data }) => this.#message(socket, data);
    socket.onclose = () => {
      if (this.#socket === socket) this.#again();
    };
  }

  #message(socket: SocketLike, data: unknown): void {
    if (!(data instanceof ArrayBuffer) || this.#closed) return;
    const bytes = new Uint8Array(data);
    const header = readHeader(bytes);
    const picture = header?.raw ? planesOf(header.width, header.height, bytes.subarray(HEADER_BYTES)) : null;
    const next = () => {
      if (this.#socket === socket) socket.send(NEXT);
    };
    if (picture) this.picture(picture, next);
    else next();
  }

  #again(): void {
    this.#socket = null;
    if (this.#closed) return;
    this.#timer = this.clock.after(RETRY_MS, () => {
      this.#timer = null;
      void this.#begin();
    });
  }
}

/** The token goes in the query: browsers set no headers on a WebSocket. */
function addressOf({ url, token }: RawVideo): string {
  if (!token || url.includes(token)) return url;
  return `${url}${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
}
