// A WebSocket of one tile to the app on this computer, made anew when it breaks.

import type { VideoAddress } from "../bindings";
import type { Clock } from "../state/clock";

/** A broken connection is tried again after this time. */
export const RETRY_MS = 1000;

/** The part of a WebSocket that is used here, so that tests can stand in for it. */
export interface SocketLike {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export type Connect = (url: string) => SocketLike;

const webSocket: Connect = (url) => new WebSocket(url) as unknown as SocketLike;

export interface ConnectionParts {
  /** Where to connect; asked each time. */
  open: () => Promise<VideoAddress>;
  clock: Clock;
  message: (bytes: Uint8Array<ArrayBuffer>) => void;
  opened?: () => void;
  connect?: Connect | undefined;
}

export class VideoConnection {
  readonly #parts: ConnectionParts;
  #socket: SocketLike | null = null;
  /** Said before the socket was open. */
  #unsaid: string[] = [];
  #isOpen = false;
  #closed = false;
  #timer: number | null = null;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    void this.#begin();
  }

  /** What is said while there is no connection goes with the one being made, and not with a later one. */
  send(text: string): void {
    if (this.#isOpen) this.#socket?.send(text);
    else this.#unsaid.push(text);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) this.#parts.clock.clear(this.#timer);
    this.#timer = null;
    this.#socket?.close();
    this.#socket = null;
  }

  async #begin(): Promise<void> {
    let address: VideoAddress;
    try {
      address = await this.#parts.open();
    } catch (error) {
      console.warn("no pictures", error);
      this.#again();
      return;
    }
    if (this.#closed) return;
    const socket = (this.#parts.connect ?? webSocket)(addressOf(address));
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.#isOpen = true;
      for (const text of this.#unsaid.splice(0)) socket.send(text);
      this.#parts.opened?.();
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && data instanceof ArrayBuffer) this.#parts.message(new Uint8Array(data));
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#again();
    };
  }

  #again(): void {
    this.#socket = null;
    this.#isOpen = false;
    this.#unsaid = [];
    if (this.#closed) return;
    this.#timer = this.#parts.clock.after(RETRY_MS, () => {
      this.#timer = null;
      void this.#begin();
    });
  }
}

/** The token goes in the query: browsers set no headers on a WebSocket. */
function addressOf({ url, token }: VideoAddress): string {
  if (!token || url.includes(token)) return url;
  return `${url}${url.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}`;
}
