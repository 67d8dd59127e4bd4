// Notes at the edge of the window: one at a time, gone after a while, held by pointer or focus.

import type { Clock } from "./clock";

/** How long a note stays when nobody holds it. */
export const NOTE_MS = 6000;
/** Waiting notes beyond this are dropped, oldest first: nobody reads a backlog. */
export const MAX_WAITING = 4;

export interface Note {
  /** A newer note with the same key takes the place of the older one. */
  key: string;
  tone: "plain" | "good" | "error" | "muted";
  title: string;
  detail?: string | undefined;
  action?: { label: string; key?: string | undefined; run: () => void } | undefined;
  /** Stays until closed. */
  sticky?: boolean | undefined;
  /** Takes the place of the note that is shown, which comes back afterwards. */
  urgent?: boolean | undefined;
}

export class Notes {
  readonly #clock: Clock;
  readonly #changed: (note: Note | null) => void;
  #waiting: Note[] = [];
  #shown: Note | null = null;
  #timer: number | null = null;
  #held = false;
  #left = NOTE_MS;
  #since = 0;

  constructor(clock: Clock, changed: (note: Note | null) => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  get shown(): Note | null {
    return this.#shown;
  }

  push(note: Note): void {
    this.#waiting = this.#waiting.filter((other) => other.key !== note.key);
    if (this.#shown !== null && same(this.#shown, note)) {
      // Said already: it stays a while longer, and nobody hears it again.
      if (!this.#held && this.#timer !== null) this.#start(NOTE_MS);
      return;
    }
    if (this.#shown?.key === note.key || this.#shown === null) {
      this.#show(note);
      return;
    }
    if (note.urgent && !this.#held) {
      this.#waiting.unshift(this.#shown);
      this.#waiting.length = Math.min(this.#waiting.length, MAX_WAITING);
      this.#show(note);
      return;
    }
    this.#waiting.push(note);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    // An error that stays must not hide what comes after it.
    if (this.#shown.sticky && !this.#held) this.#start(NOTE_MS);
  }

  /** Closes the note with this key, shown or waiting. */
  close(key: string): void {
    this.#waiting = this.#waiting.filter((note) => note.key !== key);
    if (this.#shown?.key === key) this.#next();
  }

  /** A note that was to stay may go after its time. */
  release(key: string): void {
    if (this.#shown?.key === key) {
      this.#shown = { ...this.#shown, sticky: false };
      if (!this.#held && this.#timer === null) this.#start(NOTE_MS);
    } else {
      this.close(key);
    }
  }

  /** Pointer or focus is on the note: time stands still. */
  hold(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    if (held) {
      if (this.#timer !== null) {
        this.#left = Math.max(0, this.#left - (this.#clock.now() - this.#since));
        this.#stop();
      }
    } else if (this.#shown && (!this.#shown.sticky || this.#waiting.length > 0)) {
      this.#start(Math.max(1000, this.#left));
    }
  }

  #show(note: Note): void {
    this.#stop();
    this.#shown = note;
    this.#left = NOTE_MS;
    this.#changed(note);
    if (!this.#held && (!note.sticky || this.#waiting.length > 0)) this.#start(NOTE_MS);
  }

  #next(): void {
    this.#stop();
    this.#held = false;
    const next = this.#waiting.shift() ?? null;
    if (next) {
      this.#show(next);
    } else {
      this.#shown = null;
      this.#changed(null);
    }
  }

  #start(ms: number): void {
    this.#stop();
    this.#left = ms;
    this.#since = this.#clock.now();
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = null;
      this.#next();
    });
  }

  #stop(): void {
    if (this.#timer !== null) this.#clock.clear(this.#timer);
    this.#timer = null;
  }
}

/** Nothing new: the same words, and no action that could mean something else. */
function same(a: Note, b: Note): boolean {
  return a.key === b.key && a.title === b.title && a.detail === b.detail && a.tone === b.tone && !a.action && !b.action;
}
