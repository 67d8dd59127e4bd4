// From two W3C statistics reports to the rows of the panel. A value that the report lacks makes
// no row: nothing is made up.

import type { StatsReport } from "../bindings";

/** Members of one statistics object, by their W3C names. */
export type Members = Readonly<Record<string, number | string | boolean | null | undefined>>;
/** Statistics of the connection to one participant, keyed `outbound-rtp:video`, `pair`, … */
export type PeerStats = Readonly<Record<string, Members>>;

export interface StatsSample {
  /** Milliseconds, monotonic. */
  at: number;
  peers: ReadonlyMap<number, PeerStats>;
}

export type RowName =
  | "roundTrip"
  | "sent"
  | "received"
  | "available"
  | "lostHere"
  | "lostThere"
  | "pictureSent"
  | "pictureReceived"
  | "soundSent"
  | "soundReceived"
  | "concealed"
  | "concealments"
  | "recovered"
  | "stretched"
  | "loudness"
  | "videoDelay"
  | "audioDelay"
  | "audioTarget"
  | "freezes"
  | "repairs"
  | "keyFrames"
  | "path";

export interface StatsRow {
  name: RowName;
  value: string;
}

/** Rows for one participant; rates need the sample before. */
export function statsRows(now: StatsSample, before: StatsSample | null, peer: number): StatsRow[] {
  const current = now.peers.get(peer);
  if (!current) return [];
  const rates = new Rates(current, before?.peers.get(peer) ?? null, before ? (now.at - before.at) / 1000 : 0);
  const rows: [RowName, string | null][] = [
    ["roundTrip", ms(number(current, "pair", "currentRoundTripTime") ?? number(current, "remote-inbound-rtp:video", "roundTripTime"))],
    ["sent", bitrate(rates.perSecond("bytesSent", ["outbound-rtp:video", "outbound-rtp:audio"]))],
    ["received", bitrate(rates.perSecond("bytesReceived", ["inbound-rtp:video", "inbound-rtp:audio"]))],
    ["available", bitrate(divide(number(current, "pair", "availableOutgoingBitrate"), 8))],
    ["lostHere", percent(rates.lossReceived())],
    ["lostThere", percent(number(current, "remote-inbound-rtp:video", "fractionLost"))],
    ["pictureSent", picture(current["outbound-rtp:video"], rates.perSecond("framesEncoded", ["outbound-rtp:video"]))],
    ["pictureReceived", picture(current["inbound-rtp:video"], rates.perSecond(framesMember(current), ["inbound-rtp:video"]))],
    ["soundSent", bitrate(rates.perSecond("bytesSent", ["outbound-rtp:audio"]))],
    ["soundReceived", bitrate(rates.perSecond("bytesReceived", ["inbound-rtp:audio"]))],
    ["concealed", percent(rates.ratio("inbound-rtp:audio", "concealedSamples", "totalSamplesReceived"))],
    ["concealments", count(number(current, "inbound-rtp:audio", "concealmentEvents"))],
    ["recovered", shares(rates.ratio("inbound-rtp:audio", "fecSamples", "totalSamplesReceived"), rates.ratio("inbound-rtp:audio", "dredSamples", "totalSamplesReceived"))],
    ["stretched", shares(rates.ratio("inbound-rtp:audio", "insertedSamplesForDeceleration", "totalSamplesReceived"), rates.ratio("inbound-rtp:audio", "removedSamplesForAcceleration", "totalSamplesReceived"))],
    ["loudness", loudness(rates.ratio("inbound-rtp:audio", "totalAudioEnergy", "totalSamplesDuration"), number(current, "inbound-rtp:audio", "audioLevel"))],
    ["videoDelay", ms(rates.ratio("inbound-rtp:video", "jitterBufferDelay", "jitterBufferEmittedCount"))],
    ["audioDelay", ms(rates.ratio("inbound-rtp:audio", "jitterBufferDelay", "jitterBufferEmittedCount"))],
    ["audioTarget", ms(rates.ratio("inbound-rtp:audio", "jitterBufferTargetDelay", "jitterBufferEmittedCount"))],
    ["freezes", count(number(current, "inbound-rtp:video", "freezeCount"))],
    ["repairs", pairOf(number(current, "inbound-rtp:video", "nackCount"), number(current, "outbound-rtp:video", "nackCount"))],
    ["keyFrames", pairOf(number(current, "inbound-rtp:video", "pliCount"), number(current, "outbound-rtp:video", "pliCount"))],
    ["path", path(current)],
  ];
  return rows.flatMap(([name, value]) => (value === null ? [] : [{ name, value }]));
}

/** Every member as it came, for the details part and the report. */
export function rawMembers(stats: PeerStats): { object: string; member: string; value: string }[] {
  return Object.keys(stats)
    .sort()
    .flatMap((object) =>
      Object.entries(stats[object] ?? {})
        .filter(([, value]) => value !== null && value !== undefined)
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([member, value]) => ({ object, member, value: plain(value) })),
    );
}

class Rates {
  constructor(
    private readonly now: PeerStats,
    private readonly before: PeerStats | null,
    private readonly seconds: number,
  ) {}

  /** Growth of a counter per second, summed over objects that have it. */
  perSecond(member: string, objects: readonly string[]): number | null {
    let sum: number | null = null;
    for (const object of objects) {
      const grown = this.growth(object, member);
      if (grown !== null && this.seconds > 0) sum = (sum ?? 0) + grown / this.seconds;
    }
    return sum;
  }

  /** Growth of one counter over that of another since the sample before, or over all time. */
  ratio(object: string, part: string, whole: string): number | null {
    const over = this.growth(object, whole);
    const of = this.growth(object, part);
    if (over !== null && of !== null && over > 0) return of / over;
    const [allPart, allWhole] = [number(this.now, object, part), number(this.now, object, whole)];
    return allPart !== null && allWhole !== null && allWhole > 0 ? allPart / allWhole : null;
  }

  lossReceived(): number | null {
    let lost: number | null = null;
    let received = 0;
    for (const object of ["inbound-rtp:video", "inbound-rtp:audio"]) {
      const grown = this.growth(object, "packetsLost");
      if (grown === null) continue;
      lost = (lost ?? 0) + Math.max(0, grown);
      received += this.growth(object, "packetsReceived") ?? 0;
    }
    return lost === null || lost + received === 0 ? null : lost / (lost + received);
  }

  private growth(object: string, member: string): number | null {
    if (!this.before) return null;
    const now = number(this.now, object, member);
    const before = number(this.before, object, member);
    return now === null || before === null || now < before ? null : now - before;
  }
}

function number(stats: PeerStats, object: string, member: string): number | null {
  const value = stats[object]?.[member];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Webviews decode; what the app itself counts may be frames received. */
function framesMember(stats: PeerStats): string {
  return number(stats, "inbound-rtp:video", "framesDecoded") !== null ? "framesDecoded" : "framesReceived";
}

function divide(value: number | null, by: number): number | null {
  return value === null ? null : value / by;
}

/** Bytes per second as bits. */
export function bitrate(bytesPerSecond: number | null): string | null {
  if (bytesPerSecond === null) return null;
  const kbit = (bytesPerSecond * 8) / 1000;
  return kbit >= 1000 ? `${(kbit / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbit)} kbit/s`;
}

function ms(seconds: number | null): string | null {
  if (seconds === null) return null;
  const value = seconds * 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function percent(fraction: number | null): string | null {
  return fraction === null ? null : `${(fraction * 100).toFixed(1)} %`;
}

/** Two shares of all samples; the one that is not known is a dash. */
function shares(a: number | null, b: number | null): string | null {
  return a === null && b === null ? null : `${percent(a) ?? "–"} / ${percent(b) ?? "–"}`;
}

/** Level in dB below full scale, from the energy of the last second or, without it, the level now. */
function loudness(energyPerSecond: number | null, level: number | null): string | null {
  const rms = energyPerSecond !== null ? Math.sqrt(Math.max(0, energyPerSecond)) : level;
  if (rms === null) return null;
  return rms < 0.00001 ? "−∞ dBFS" : `${Math.round(20 * Math.log10(rms)).toString().replace("-", "−")} dBFS`;
}

function count(value: number | null): string | null {
  return value === null ? null : String(value);
}

function pairOf(a: number | null, b: number | null): string | null {
  return a === null && b === null ? null : `${a ?? "–"} / ${b ?? "–"}`;
}

function picture(members: Members | undefined, framesPerSecond: number | null): string | null {
  const { frameWidth, frameHeight } = members ?? {};
  if (typeof frameWidth !== "number" || typeof frameHeight !== "number" || frameWidth === 0) return null;
  const size = `${frameWidth} × ${frameHeight}`;
  return framesPerSecond === null ? size : `${size}, ${Math.round(framesPerSecond)} fps`;
}

function path(stats: PeerStats): string | null {
  const parts = [
    stats["pair"]?.["localCandidateType"] ?? stats["local-candidate"]?.["candidateType"],
    stats["pair"]?.["remoteCandidateType"] ?? stats["remote-candidate"]?.["candidateType"],
  ].filter((part): part is string => typeof part === "string" && part !== "");
  if (parts.length === 0) return null;
  const protocol = stats["pair"]?.["protocol"] ?? stats["local-candidate"]?.["protocol"];
  return typeof protocol === "string" ? `${parts.join(" → ")}, ${protocol}` : parts.join(" → ");
}

function plain(value: unknown): string {
  if (typeof value === "object") return JSON.stringify(value);
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toFixed(6))) : String(value);
}

/** The app's report, received at `at`. */
export function sampleOf(report: StatsReport, at: number): StatsSample {
  return {
    at,
    peers: new Map(
      report.participants.map(({ id, ...objects }) => {
        const entries = Object.entries(objects as Record<string, Members>).filter(([, members]) => typeof members === "object" && members !== null);
        return [id, Object.fromEntries(entries)];
      }),
    ),
  };
}
