/** Time as the state sees it, in milliseconds; tests turn it by hand. */
export interface Clock {
  /** Monotonic. */
  now(): number;
  /** Calls back once; returns what {@link Clock.clear} takes. */
  after(ms: number, callback: () => void): number;
  clear(timer: number): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after: (ms, callback) => setTimeout(callback, ms) as unknown as number,
  clear: (timer) => clearTimeout(timer),
};

/** A clock that only moves when told. */
export class ManualClock implements Clock {
  #now = 0;
  #next = 1;
  #timers = new Map<number, { at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): number {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, callback });
    return id;
  }

  clear(timer: number): void {
    this.#timers.delete(timer);
  }

  /** Moves on, running what falls due in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].callback();
    }
    this.#now = end;
  }

  get pending(): number {
    return this.#timers.size;
  }
}
