// Raw pictures from the app, for webviews that do not decode VP8. One credit: the app sends the next
// picture when this one has been drawn, and its newest one then.

import type { VideoAddress } from "../bindings";
import type { Clock } from "../state/clock";
import { VideoConnection, type Connect } from "./connection";
import { HEADER_BYTES, readHeader } from "./header";
import { planesOf, type I420 } from "./yuv";

/** What asks for the next picture. */
export const NEXT = "next";

export class RawStream {
  readonly #connection: VideoConnection;

  constructor(
    open: () => Promise<VideoAddress>,
    clock: Clock,
    private readonly picture: (picture: I420, drawn: () => void) => void,
    connect?: Connect,
  ) {
    const next = () => this.#connection.send(NEXT);
    this.#connection = new VideoConnection({ open, clock, connect, opened: next, message: (bytes) => this.#message(bytes, next) });
  }

  close(): void {
    this.#connection.close();
  }

  #message(bytes: Uint8Array<ArrayBuffer>, next: () => void): void {
    const header = readHeader(bytes);
    const picture = header?.raw ? planesOf(header.width, header.height, bytes.subarray(HEADER_BYTES)) : null;
    if (picture) this.picture(picture, next);
    else next();
  }
}
