// Credits: the app sends on while the window says what it has taken.

import type { Clock } from "../state/clock";

/** Frames after which a word is due. */
export const EVERY = 4;
/** Longest silence about a frame that was taken. */
export const WITHIN_MS = 100;

export class Acknowledger {
  #seq: number | null = null;
  #frames = 0;
  #timer: number | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly send: (seq: number) => void,
  ) {}

  /** A frame was taken from the channel, whatever becomes of it. */
  took(seq: number): void {
    this.#seq = seq;
    this.#frames++;
    if (this.#frames >= EVERY) {
      this.#flush();
    } else {
      this.#timer ??= this.clock.after(WITHIN_MS, () => {
        this.#timer = null;
        this.#flush();
      });
    }
  }

  stop(): void {
    if (this.#timer !== null) this.clock.clear(this.#timer);
    this.#timer = null;
    this.#seq = null;
    this.#frames = 0;
  }

  #flush(): void {
    if (this.#timer !== null) this.clock.clear(this.#timer);
    this.#timer = null;
    this.#frames = 0;
    if (this.#seq !== null) this.send(this.#seq);
    this.#seq = null;
  }
}
