// The canvas of one tile: sized to the tile's device pixels once its size has settled, keeping the
// last picture meanwhile. Counts what it draws, for diagnostics, at most once a second.

import type { Clock } from "../state/clock";
import { fit, outset } from "./fit";
import { toRgba, type I420 } from "./yuv";
import { YuvCanvas } from "./webgl";

/** A tile that has not changed for this long has settled. */
export const SETTLE_MS = 100;
/** No canvas has more pixels than 1080p: beyond it, scaling up costs more than it shows. */
const MAX_PIXELS = 1920 * 1080;
const REPORT_MS = 1000;

/** How a picture lies in its tile. */
export interface Look {
  whole: boolean;
  mirror: boolean;
}

export type Renderer = "2d" | "webgl2";

export class Surface {
  look: Look = { whole: false, mirror: false };
  #context: CanvasRenderingContext2D | null = null;
  #webgl: YuvCanvas | null = null;
  #scratch: { canvas: OffscreenCanvas | HTMLCanvasElement; data: ImageData } | null = null;
  #frames = 0;
  #reportedAt = -Infinity;
  #reportTimer: number | null = null;
  #settle: number | null = null;
  #observer: ResizeObserver | null = null;
  #wanted: { width: number; height: number } | null = null;
  #picture: { width: number; height: number } | null = null;

  constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly clock: Clock,
    private readonly shown: (picture: { width: number; height: number }) => void,
  ) {
    const box = canvas.getBoundingClientRect();
    this.#resize(pixels(box.width, box.height));
    if (typeof ResizeObserver !== "undefined") {
      this.#observer = new ResizeObserver((entries) => this.#observed(entries));
      this.#observer.observe(canvas);
    }
  }

  /** For the stats panel. */
  get renderer(): Renderer {
    return this.#webgl ? "webgl2" : "2d";
  }

  /** Has raw pictures drawn by the graphics card; without one they go through RGBA. */
  useWebGl(): void {
    if (this.#context || this.#webgl) return;
    try {
      this.#webgl = new YuvCanvas(this.canvas);
    } catch (error) {
      console.info("raw pictures through RGBA:", error);
    }
  }

  drawFrame(frame: VideoFrame): void {
    const size = { width: frame.displayWidth, height: frame.displayHeight };
    this.#draw2d(frame, size);
    this.#drawn(size);
  }

  drawRaw(picture: I420): void {
    const { source, target } = fit(picture, this.canvas, this.look.whole);
    if (this.#webgl) {
      this.#webgl.draw(picture, { source, target }, this.look.mirror);
    } else {
      this.#draw2d(this.#rgba(picture), picture);
    }
    this.#drawn(picture);
  }

  /** Back to nothing: the picture of a camera that went off must not stay. */
  clear(): void {
    this.#picture = null;
    if (!this.#webgl) this.#context2d()?.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  close(): void {
    this.#observer?.disconnect();
    if (this.#settle !== null) this.clock.clear(this.#settle);
    if (this.#reportTimer !== null) this.clock.clear(this.#reportTimer);
    this.#settle = this.#reportTimer = null;
  }

  #draw2d(image: CanvasImageSource, size: { width: number; height: number }): void {
    const context = this.#context2d();
    if (!context) return;
    const { canvas, look } = this;
    const { source, target } = fit(size, canvas, look.whole);
    if (look.whole) context.clearRect(0, 0, canvas.width, canvas.height);
    if (look.mirror) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
    // WebKit ignores the source rectangle of a VideoFrame (2.50): the whole picture is drawn, so
    // that what is to be cut lies outside of the canvas.
    const whole = outset(size, source, target);
    context.drawImage(image, whole.x, whole.y, whole.width, whole.height);
    if (look.mirror) context.setTransform(1, 0, 0, 1, 0, 0);
  }

  #context2d(): CanvasRenderingContext2D | null {
    if (!this.#context && !this.#webgl) this.#context = this.canvas.getContext("2d", { desynchronized: false });
    return this.#context;
  }

  #rgba(picture: I420): CanvasImageSource {
    if (!this.#scratch || this.#scratch.data.width !== picture.width || this.#scratch.data.height !== picture.height) {
      const canvas = document.createElement("canvas");
      canvas.width = picture.width;
      canvas.height = picture.height;
      this.#scratch = { canvas, data: new ImageData(picture.width, picture.height) };
    }
    const { canvas, data } = this.#scratch;
    toRgba(picture, data.data);
    (canvas.getContext("2d") as CanvasRenderingContext2D | null)?.putImageData(data, 0, 0);
    return canvas;
  }

  #drawn(size: { width: number; height: number }): void {
    this.#frames++;
    if (this.#picture?.width !== size.width || this.#picture.height !== size.height) {
      this.#picture = { width: size.width, height: size.height };
      this.shown(this.#picture);
    }
    const now = this.clock.now();
    if (now - this.#reportedAt >= REPORT_MS) this.#report(now);
    else this.#reportTimer ??= this.clock.after(REPORT_MS - (now - this.#reportedAt), () => this.#report(this.clock.now()));
  }

  #report(now: number): void {
    if (this.#reportTimer !== null) this.clock.clear(this.#reportTimer);
    this.#reportTimer = null;
    this.#reportedAt = now;
    this.canvas.dataset["frames"] = String(this.#frames);
    if (this.#picture) this.canvas.dataset["picture"] = `${this.#picture.width}x${this.#picture.height}`;
    this.canvas.dataset["renderer"] = this.renderer;
  }

  #observed(entries: readonly ResizeObserverEntry[]): void {
    const box = entries[entries.length - 1]?.contentRect;
    if (!box || box.width === 0 || box.height === 0) return;
    this.#wanted = pixels(box.width, box.height);
    if (this.#settle !== null) this.clock.clear(this.#settle);
    this.#settle = this.clock.after(SETTLE_MS, () => {
      this.#settle = null;
      if (this.#wanted) this.#resize(this.#wanted);
    });
  }

  #resize(size: { width: number; height: number }): void {
    const { canvas } = this;
    if (canvas.width === size.width && canvas.height === size.height) return;
    const context = this.#picture ? this.#context : null;
    const kept = context ? document.createElement("canvas") : null;
    if (kept) {
      kept.width = canvas.width;
      kept.height = canvas.height;
      kept.getContext("2d")?.drawImage(canvas, 0, 0);
    }
    canvas.width = size.width;
    canvas.height = size.height;
    // Setting the size wipes the canvas: until the next picture the last one stands in, cut alike.
    if (kept && context) {
      const { source, target } = fit(kept, canvas, false);
      context.drawImage(kept, source.x, source.y, source.width, source.height, target.x, target.y, target.width, target.height);
    }
  }
}

/** Device pixels for a box in CSS pixels. */
function pixels(width: number, height: number): { width: number; height: number } {
  const ratio = window.devicePixelRatio || 1;
  const all = width * height * ratio * ratio;
  const scale = all > MAX_PIXELS ? ratio * Math.sqrt(MAX_PIXELS / all) : ratio;
  return { width: Math.max(2, Math.round(width * scale)), height: Math.max(2, Math.round(height * scale)) };
}
