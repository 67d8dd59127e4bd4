// Durations and moments as people read them.

/** `4:07`, `12:04`, `1:02:33`. */
export function clockText(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1000));
  const seconds = String(total % 60).padStart(2, "0");
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600);
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

/** Whole parts of a duration, for wording. Below a minute only seconds count. */
export function durationParts(ms: number): { hours: number; minutes: number; seconds: number } {
  const total = Math.max(0, Math.round(ms / 1000));
  return { hours: Math.floor(total / 3600), minutes: Math.floor(total / 60) % 60, seconds: total % 60 };
}

/** Which words a past day gets. */
export type DayKind = "today" | "yesterday" | "weekday" | "date";

/** Days apart count by the local calendar, not by 24 hours. */
export function dayKind(then: Date, now: Date): DayKind {
  const midnight = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(then)) / 86_400_000);
  if (days <= 0) return "today";
  if (days === 1) return "yesterday";
  return days < 7 ? "weekday" : "date";
}

/** Call time that runs on between snapshots. */
export class CallClock {
  #base: number | null = null;
  #at = 0;

  /** `connectedForMs` of the newest snapshot, as received at `now`. */
  update(connectedForMs: number | null, now: number): void {
    if (connectedForMs === null) {
      this.#base = null;
      return;
    }
    // A snapshot may be repeated: only a value ahead of our own moves the clock, or a new call.
    const own = this.elapsed(now);
    if (own === null || connectedForMs > own || own - connectedForMs > 2000) {
      this.#base = connectedForMs;
      this.#at = now;
    }
  }

  /** Milliseconds since the first connection; `null` before it. */
  elapsed(now: number): number | null {
    return this.#base === null ? null : this.#base + (now - this.#at);
  }
}
