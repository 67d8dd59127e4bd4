// One picture of the window, from the app's channel to its canvas. Runs while it is on screen:
// a hidden window is not subscribed to anything, so that nothing piles up.

import type { Backend, VideoSubscription } from "../backend";
import type { VideoTile } from "../bindings";
import type { Clock } from "../state/clock";
import { Acknowledger } from "./acknowledge";
import { decodesVp8, PictureDecoder, webCodecs, type DecoderParts } from "./decode";
import { readHeader } from "./header";
import { presenter, type Presenter } from "./present";
import { RawStream } from "./raw";
import { LatestSlot } from "./slot";
import { Surface, type Look } from "./surface";

export type Path = "webcodecs" | "raw";

export interface TileOptions {
  backend: Backend;
  clock: Clock;
  tile: VideoTile;
  canvas: HTMLCanvasElement;
  /** The first picture, and every change of its size; `null` when there is none any more. */
  shown: (picture: { width: number; height: number } | null) => void;
  /** For tests. */
  parts?: DecoderParts;
  presenter?: Presenter;
  path?: Promise<Path>;
}

let known: Promise<Path> | null = null;

/** How this webview gets its pictures; found out once. */
export function videoPath(): Promise<Path> {
  known ??= decodesVp8().then((can) => (can ? "webcodecs" : "raw"));
  return known;
}

export class TileVideo {
  readonly surface: Surface;
  readonly #options: TileOptions;
  readonly #presenter: Presenter;
  readonly #slot = new LatestSlot<VideoFrame>();
  #run: Run | null = null;
  #closed = false;
  #hidden: () => void;

  constructor(options: TileOptions) {
    this.#options = options;
    this.#presenter = options.presenter ?? presenter;
    this.surface = new Surface(options.canvas, options.clock, options.shown);
    this.#hidden = () => (document.hidden ? this.#stop() : this.#start());
    document.addEventListener("visibilitychange", this.#hidden);
    if (!document.hidden) this.#start();
  }

  setLook(look: Look): void {
    this.surface.look = look;
  }

  /** Nothing is to be seen any more, for example because the camera was switched off. */
  clear(): void {
    this.#slot.clear();
    this.#presenter.cancel(this.#draw);
    this.surface.clear();
    this.#options.shown(null);
  }

  close(): void {
    this.#closed = true;
    document.removeEventListener("visibilitychange", this.#hidden);
    this.#stop();
    this.surface.close();
  }

  #start(): void {
    if (this.#run || this.#closed) return;
    const run: Run = { ended: false, end: () => undefined };
    this.#run = run;
    void (this.#options.path ?? videoPath()).then((path) => {
      if (run.ended) return;
      if (path === "webcodecs") this.#runEncoded(run);
      else this.#runRaw(run);
    });
  }

  #stop(): void {
    const run = this.#run;
    this.#run = null;
    if (run) {
      run.ended = true;
      run.end();
    }
    this.#slot.clear();
    this.#presenter.cancel(this.#draw);
  }

  readonly #draw = (): void => {
    const frame = this.#slot.take();
    if (!frame) return;
    try {
      this.surface.drawFrame(frame);
    } finally {
      frame.close();
    }
  };

  #runEncoded(run: Run): void {
    const { backend, clock, tile } = this.#options;
    let subscription: VideoSubscription | null = null;
    let acknowledged: number | null = null;
    const acknowledge = (to: VideoSubscription, seq: number) => backend.acknowledgeVideo(to, seq, decoder.takeGivenUp());
    const acknowledger = new Acknowledger(clock, (seq) => {
      // The first frames may come before the subscription has its number.
      if (subscription) acknowledge(subscription, seq);
      else acknowledged = seq;
    });
    const decoder = new PictureDecoder(
      this.#options.parts ?? webCodecs,
      clock,
      (frame) => {
        if (run.ended) {
          frame.close();
          return;
        }
        this.#slot.put(frame);
        this.#presenter.schedule(this.#draw);
      },
      () => subscription && backend.requestKeyFrame(subscription),
    );
    run.end = () => {
      acknowledger.stop();
      decoder.close();
      if (subscription) backend.unsubscribeVideo(subscription);
    };
    backend
      .subscribeVideo(tile, (bytes) => {
        const header = readHeader(bytes);
        if (run.ended || !header || header.raw) return;
        decoder.push(header, bytes);
        acknowledger.took(header.seq);
      })
      .then(
        (made) => {
          subscription = made;
          if (run.ended) backend.unsubscribeVideo(made);
          else if (acknowledged !== null) acknowledge(made, acknowledged);
        },
        (error: unknown) => console.warn("no pictures for", tile, error),
      );
  }

  #runRaw(run: Run): void {
    this.surface.useWebGl();
    const stream = new RawStream(() => this.#options.backend.openRawVideo(this.#options.tile), this.#options.clock, (picture, drawn) => {
      const draw = () => {
        if (run.ended) return;
        this.surface.drawRaw(picture);
        drawn();
      };
      this.#presenter.schedule(draw);
    });
    run.end = () => stream.close();
  }
}

interface Run {
  ended: boolean;
  end: () => void;
}
