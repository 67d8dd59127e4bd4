// What a screen reader says by itself. Joins are gathered, so that six people make one sentence.

import type { Clock } from "./clock";

/** Polite sentences are gathered for this long. */
export const BATCH_MS = 2000;

export interface Announcement {
  polite: string;
  assertive: string;
}

export class Announcer {
  readonly #clock: Clock;
  readonly #changed: (announcement: Announcement) => void;
  #waiting: string[] = [];
  #timer: number | null = null;
  #now: Announcement = { polite: "", assertive: "" };

  constructor(clock: Clock, changed: (announcement: Announcement) => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  polite(text: string): void {
    if (!this.#waiting.includes(text)) this.#waiting.push(text);
    this.#timer ??= this.#clock.after(BATCH_MS, () => {
      this.#timer = null;
      this.#say({ ...this.#now, polite: this.#waiting.join(" ") });
      this.#waiting = [];
    });
  }

  /** For a lost or ended call only. */
  assertive(text: string): void {
    this.#say({ ...this.#now, assertive: text });
  }

  #say(next: Announcement): void {
    this.#now = next;
    this.#changed(next);
  }
}
