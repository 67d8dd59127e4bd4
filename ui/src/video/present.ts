// Pictures are drawn when the display asks, newest first: a picture that is overtaken is never
// drawn. One animation frame request serves all tiles, and none runs while nothing is new.

/** Draws what is pending; called inside an animation frame. */
export type Draw = () => void;

export interface FrameRequests {
  request(callback: () => void): number;
  cancel(handle: number): void;
}

const animationFrames: FrameRequests = {
  request: (callback) => requestAnimationFrame(callback),
  cancel: (handle) => cancelAnimationFrame(handle),
};

export class Presenter {
  #due = new Set<Draw>();
  #handle: number | null = null;

  constructor(private readonly frames: FrameRequests = animationFrames) {}

  /** Has `draw` run with the next animation frame, once however often it is asked for. */
  schedule(draw: Draw): void {
    this.#due.add(draw);
    this.#handle ??= this.frames.request(() => {
      this.#handle = null;
      const due = this.#due;
      this.#due = new Set();
      for (const one of due) one();
    });
  }

  cancel(draw: Draw): void {
    this.#due.delete(draw);
    if (this.#due.size === 0 && this.#handle !== null) {
      this.frames.cancel(this.#handle);
      this.#handle = null;
    }
  }
}

/** The one of this window. */
export const presenter = new Presenter();
