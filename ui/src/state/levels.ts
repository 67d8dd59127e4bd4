// Levels go past the model: 15 times a second they are written to their elements, nothing else.

export interface LevelFrame {
  /** Linear, 0 to 1, as captured. */
  local: { rms: number; peak: number };
  participants: readonly (readonly [number, number])[];
}

export class Levels {
  #listeners = new Set<(frame: LevelFrame) => void>();

  push(frame: LevelFrame): void {
    for (const listener of this.#listeners) listener(frame);
  }

  /** Returns what ends it. */
  watch(listener: (frame: LevelFrame) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Quietest level that a meter shows, in dB below full scale. */
const FLOOR_DB = -54;

/** A linear level as 0..1 on a meter, even steps per decibel. */
export function meterFraction(level: number): number {
  if (!(level > 0)) return 0;
  const db = 20 * Math.log10(Math.min(1, level));
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}
