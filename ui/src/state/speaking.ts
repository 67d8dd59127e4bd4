// Who speaks, for the ring and the name tag. From levels, 15 times a second; changes are rare.

/** RMS level (linear, 0..1) from which somebody counts as speaking. */
const ON = 0.02;
/** Level that keeps the mark. */
const STAY = 0.01;
/** The mark outlives pauses between words. */
const HOLD_MS = 700;

export class Speaking {
  #until = new Map<number, number>();
  #last: readonly number[] = [];

  /** Ids of those who speak, ascending; the same array as before when nothing changed. */
  update(levels: readonly (readonly [number, number])[], now: number): readonly number[] {
    for (const [id, level] of levels) {
      const marked = (this.#until.get(id) ?? 0) > now;
      if (level >= (marked ? STAY : ON)) this.#until.set(id, now + HOLD_MS);
    }
    const ids = levels
      .map(([id]) => id)
      .filter((id) => (this.#until.get(id) ?? 0) > now)
      .sort((a, b) => a - b);
    for (const id of [...this.#until.keys()]) {
      if (!levels.some(([other]) => other === id)) this.#until.delete(id);
    }
    if (ids.length !== this.#last.length || ids.some((id, i) => id !== this.#last[i])) this.#last = ids;
    return this.#last;
  }
}
