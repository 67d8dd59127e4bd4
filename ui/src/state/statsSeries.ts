// The last minute of the statistics as lines: counters become rates, gauges stay what they are.
// A value that is not known makes a gap, never a zero.

import type { Members, PeerStats, StatsSample } from "./stats";

/** What the plots show. */
export const WINDOW_MS = 60_000;
/** Queue of one participant; one point a second needs 61. When full, the oldest goes. */
export const MAX_POINTS = 120;
/** Beyond this two samples have nothing to do with each other: the window was hidden, or the
 * computer asleep. */
export const LONGEST_STEP_MS = 5000;

/** Lines: bit/s, ms, share of 1, frames per second, lines of the picture. */
export type SeriesName =
  | "roundTrip"
  | "sent"
  | "received"
  | "available"
  | "lostThere"
  | "lostHere"
  | "pictureDelay"
  | "soundDelay"
  | "framesSent"
  | "framesReceived"
  | "linesSent"
  | "linesReceived"
  | "encode";

export type Values = Readonly<Partial<Record<SeriesName, number>>>;

export interface Point {
  /** Milliseconds, the samples' clock. */
  at: number;
  values: Values;
}

/** What happened between two samples of one connection, `ms` apart. */
export function measure(now: PeerStats, before: PeerStats | null, ms: number): Values {
  const rates = before !== null && ms > 0 && ms <= LONGEST_STEP_MS ? new Growth(now, before, ms / 1000) : null;
  const values: Record<SeriesName, number | null> = {
    roundTrip: times(gauge(now["pair"], "currentRoundTripTime") ?? gauge(now["remote-inbound-rtp:video"], "roundTripTime"), 1000),
    sent: times(rates?.perSecond("bytesSent", ["outbound-rtp:video", "outbound-rtp:audio"]) ?? null, 8),
    received: times(rates?.perSecond("bytesReceived", ["inbound-rtp:video", "inbound-rtp:audio"]) ?? null, 8),
    available: gauge(now["pair"], "availableOutgoingBitrate"),
    lostThere: gauge(now["remote-inbound-rtp:video"], "fractionLost") ?? gauge(now["remote-inbound-rtp:audio"], "fractionLost"),
    lostHere: rates?.lossReceived() ?? null,
    pictureDelay: times(rates?.ratio("inbound-rtp:video", "jitterBufferDelay", "jitterBufferEmittedCount") ?? null, 1000),
    soundDelay: times(rates?.ratio("inbound-rtp:audio", "jitterBufferDelay", "jitterBufferEmittedCount") ?? null, 1000),
    framesSent: gauge(now["outbound-rtp:video"], "framesPerSecond") ?? rates?.perSecond("framesEncoded", ["outbound-rtp:video"]) ?? null,
    framesReceived: gauge(now["inbound-rtp:video"], "framesPerSecond") ?? rates?.perSecond("framesReceived", ["inbound-rtp:video"]) ?? null,
    linesSent: size(now["outbound-rtp:video"]),
    linesReceived: size(now["inbound-rtp:video"]),
    encode: times(rates?.ratio("outbound-rtp:video", "totalEncodeTime", "framesEncoded") ?? null, 1000),
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value >= 0)) as Values;
}

/** The last minute of every connection. */
export class StatsHistory {
  #before: StatsSample | null = null;
  #points = new Map<number, readonly Point[]>();

  push(sample: StatsSample): void {
    const before = this.#before;
    const ms = before === null ? 0 : sample.at - before.at;
    // The same moment twice says nothing about rates, and the newer one counts.
    const again = before !== null && ms === 0;
    // A clock that went back leaves nothing to compare with.
    const anew = ms < 0;
    const next = new Map<number, readonly Point[]>();
    for (const [id, peer] of sample.peers) {
      const old = anew ? [] : (this.#points.get(id) ?? []);
      const kept = (again ? old.slice(0, -1) : old).filter(({ at }) => at >= sample.at - WINDOW_MS);
      const values = measure(peer, anew ? null : (before?.peers.get(id) ?? null), ms);
      next.set(id, [...kept, { at: sample.at, values: again ? { ...old.at(-1)?.values, ...values } : values }].slice(-MAX_POINTS));
    }
    this.#points = next;
    this.#before = sample;
  }

  /** Oldest first. */
  points(id: number): readonly Point[] {
    return this.#points.get(id) ?? [];
  }
}

export interface Summary {
  /** The newest point's; `null` when it has none. */
  now: number | null;
  lowest: number;
  average: number;
  highest: number;
}

/** `null` when nothing is known. */
export function summary(points: readonly Point[], name: SeriesName): Summary | null {
  const values = points.flatMap(({ values }) => values[name] ?? []);
  if (values.length === 0) return null;
  return {
    now: points.at(-1)?.values[name] ?? null,
    lowest: Math.min(...values),
    average: values.reduce((sum, value) => sum + value, 0) / values.length,
    highest: Math.max(...values),
  };
}

/** The upper end of a scale: 1, 2 or 5 times a power of ten, no less than `floor`. */
export function scaleTop(highest: number, floor: number): number {
  if (!(highest > floor)) return floor;
  const power = 10 ** Math.floor(Math.log10(highest));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= highest * 0.999) ?? 10;
  return step * power;
}

/** The line as an SVG path, the newest point at the right edge. Broken where a value is missing. */
export function linePath(points: readonly Point[], name: SeriesName, top: number, width: number, height: number): string {
  const end = points.at(-1)?.at ?? 0;
  let path = "";
  let last: Point | null = null;
  let alone = false;
  for (const point of points) {
    const value = point.values[name];
    if (value === undefined) {
      if (alone) path += "h0";
      alone = false;
      last = null;
      continue;
    }
    const x = round(width * (1 - (end - point.at) / WINDOW_MS));
    const y = round(height * (1 - Math.min(1, value / top)));
    const joined = last !== null && point.at - last.at <= LONGEST_STEP_MS;
    // A point without neighbours is drawn as a dot: the line's ends are round.
    if (!joined && alone) path += "h0";
    path += `${joined ? "L" : "M"}${x} ${y}`;
    alone = !joined;
    last = point;
  }
  return alone ? `${path}h0` : path;
}

class Growth {
  constructor(
    private readonly now: PeerStats,
    private readonly before: PeerStats,
    private readonly seconds: number,
  ) {}

  /** Growth of a counter per second, summed over the objects that have it. A part of a sum is not
   * shown as the sum: `null` when one of them has nothing to compare with. */
  perSecond(member: string, objects: readonly string[]): number | null {
    let sum: number | null = null;
    for (const object of objects) {
      if (gauge(this.now[object], member) === null) continue;
      const grown = this.of(object, member);
      if (grown === null) return null;
      sum = (sum ?? 0) + grown / this.seconds;
    }
    return sum;
  }

  /** Growth of one counter over that of another; `null` while nothing was counted. */
  ratio(object: string, part: string, whole: string): number | null {
    const [over, of] = [this.of(object, whole), this.of(object, part)];
    return over === null || of === null || over === 0 ? null : of / over;
  }

  /** Packets that never came, of all that were sent to us. The counter may go down when one comes
   * late (RFC 3550): then none was lost. */
  lossReceived(): number | null {
    let lost = 0;
    let received = 0;
    for (const object of ["inbound-rtp:video", "inbound-rtp:audio"]) {
      const came = this.of(object, "packetsReceived");
      const [now, before] = [gauge(this.now[object], "packetsLost"), gauge(this.before[object], "packetsLost")];
      if (came === null || now === null || before === null) continue;
      received += came;
      lost += Math.max(0, now - before);
    }
    return lost + received === 0 ? null : lost / (lost + received);
  }

  /** `null` for a counter that began anew. */
  private of(object: string, member: string): number | null {
    const [now, before] = [gauge(this.now[object], member), gauge(this.before[object], member)];
    return now === null || before === null || now < before ? null : now - before;
  }
}

function gauge(members: Members | undefined, member: string): number | null {
  const value = members?.[member];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Without a picture there is no size. */
function size(members: Members | undefined): number | null {
  const lines = gauge(members, "frameHeight");
  return lines === 0 ? null : lines;
}

function times(value: number | null, factor: number): number | null {
  return value === null ? null : value * factor;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
