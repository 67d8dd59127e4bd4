/** Holds the newest of things that must be closed: putting one in closes the one before. */
export class LatestSlot<T extends { close(): void }> {
  #held: T | null = null;

  put(next: T): void {
    this.#held?.close();
    this.#held = next;
  }

  /** The caller closes what it takes. */
  take(): T | null {
    const held = this.#held;
    this.#held = null;
    return held;
  }

  clear(): void {
    this.take()?.close();
  }
}
