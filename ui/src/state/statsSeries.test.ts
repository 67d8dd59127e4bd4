import { describe, expect, it } from "vitest";
import { PLOTS, plotted, scaleOf } from "./statsPlots";
import { reportText, rtcStats } from "./statsReport";
import { linePath, MAX_POINTS, measure, scaleTop, StatsHistory, summary, WINDOW_MS, type Point } from "./statsSeries";
import type { PeerStats, StatsSample } from "./stats";

const sample = (at: number, stats: PeerStats, id = 2): StatsSample => ({ at, peers: new Map([[id, stats]]) });
const video = (bytesSent: number, more: object = {}): PeerStats => ({ "outbound-rtp:video": { bytesSent, ...more } });

describe("measure", () => {
  const before: PeerStats = {
    "outbound-rtp:video": { bytesSent: 1000, framesEncoded: 100, totalEncodeTime: 1 },
    "outbound-rtp:audio": { bytesSent: 0 },
    "inbound-rtp:video": { bytesReceived: 0, packetsReceived: 90, packetsLost: 10, framesReceived: 10, jitterBufferDelay: 1, jitterBufferEmittedCount: 10 },
    "inbound-rtp:audio": { bytesReceived: 0, packetsReceived: 10, packetsLost: 0, jitterBufferDelay: 10, jitterBufferEmittedCount: 1000 },
    pair: { currentRoundTripTime: 0.05 },
  };
  const now: PeerStats = {
    "outbound-rtp:video": { bytesSent: 251_000, framesEncoded: 130, totalEncodeTime: 1.3, frameHeight: 720, framesPerSecond: 29.5 },
    "outbound-rtp:audio": { bytesSent: 4000 },
    "inbound-rtp:video": { bytesReceived: 125_000, packetsReceived: 170, packetsLost: 20, framesReceived: 40, frameHeight: 360, jitterBufferDelay: 1.6, jitterBufferEmittedCount: 40 },
    "inbound-rtp:audio": { bytesReceived: 0, packetsReceived: 20, packetsLost: 0, jitterBufferDelay: 50, jitterBufferEmittedCount: 2000 },
    "remote-inbound-rtp:video": { fractionLost: 0.25 },
    pair: { currentRoundTripTime: 0.038, availableOutgoingBitrate: 2_400_000 },
  };

  it("makes rates of counters and keeps gauges", () => {
    const values = measure(now, before, 1000);
    expect(values.roundTrip).toBeCloseTo(38);
    expect(values.sent).toBe((250_000 + 4000) * 8);
    expect(values.received).toBe(1_000_000);
    expect(values.available).toBe(2_400_000);
    expect(values.lostThere).toBe(0.25);
    expect(values.lostHere).toBeCloseTo(0.1);
    expect(values.pictureDelay).toBeCloseTo(20);
    expect(values.soundDelay).toBeCloseTo(40);
    expect(values).toMatchObject({ framesSent: 29.5, framesReceived: 30, linesSent: 720, linesReceived: 360 });
    expect(values.encode).toBeCloseTo(10);
    expect(measure(now, before, 2000).sent).toBe((250_000 + 4000) * 4);
  });

  it("leaves out what is missing and makes nothing up", () => {
    expect(measure({}, {}, 1000)).toEqual({});
    expect(measure(now, null, 1000)).toEqual({ roundTrip: 38, available: 2_400_000, lostThere: 0.25, framesSent: 29.5, linesSent: 720, linesReceived: 360 });
    expect(measure({ pair: { currentRoundTripTime: null, availableOutgoingBitrate: Number.NaN } }, {}, 1000)).toEqual({});
    expect(measure({ "inbound-rtp:video": { frameHeight: 0 } }, {}, 1000)).toEqual({});
    expect(measure({ "remote-inbound-rtp:video": { roundTripTime: 0.02 } }, null, 0)).toEqual({ roundTrip: 20 });
  });

  it("takes no counter that began anew for a rate, and no ratio of nothing", () => {
    expect(measure(before, now, 1000)).toEqual({ roundTrip: 50 });
    expect(measure(now, now, 1000)).not.toHaveProperty("encode");
    expect(measure(now, now, 1000)).toMatchObject({ sent: 0 });
    expect(measure(now, now, 1000)).not.toHaveProperty("lostHere");
  });

  it("counts a packet that came late after all as none lost", () => {
    const inbound = (packetsReceived: number, packetsLost: number): PeerStats => ({ "inbound-rtp:video": { packetsReceived, packetsLost } });
    expect(measure(inbound(200, 8), inbound(100, 10), 1000).lostHere).toBe(0);
  });

  it("has no rates when time stands still, goes back or has jumped", () => {
    for (const ms of [0, -1000, 60_000]) expect(measure(now, before, ms)).not.toHaveProperty("sent");
  });
});

describe("StatsHistory", () => {
  it("keeps the last minute", () => {
    const history = new StatsHistory();
    for (let i = 0; i <= 100; i++) history.push(sample(i * 1000, video(i * 1000)));
    const points = history.points(2);
    expect(points).toHaveLength(61);
    expect(points[0]?.at).toBe(100_000 - WINDOW_MS);
    expect(points.every(({ values }) => values.sent === 8000)).toBe(true);
  });

  it("has a bound even when it is fed too often", () => {
    const history = new StatsHistory();
    for (let i = 0; i < 1000; i++) history.push(sample(i, video(i)));
    expect(history.points(2)).toHaveLength(MAX_POINTS);
  });

  it("begins anew when time goes back", () => {
    const history = new StatsHistory();
    history.push(sample(10_000, video(0)));
    history.push(sample(11_000, video(1000)));
    history.push(sample(5000, video(2000)));
    expect(history.points(2)).toEqual([{ at: 5000, values: {} }]);
    history.push(sample(6000, video(3000)));
    expect(history.points(2).at(-1)).toEqual({ at: 6000, values: { sent: 8000 } });
  });

  it("takes the newer of two samples of one moment", () => {
    const history = new StatsHistory();
    history.push(sample(0, video(0)));
    history.push(sample(1000, video(1000, { framesPerSecond: 20 })));
    history.push(sample(1000, video(1500, { framesPerSecond: 25 })));
    expect(history.points(2)).toHaveLength(2);
    expect(history.points(2).at(-1)?.values).toEqual({ sent: 8000, framesSent: 25 });
  });

  it("keeps people apart and forgets who has left", () => {
    const history = new StatsHistory();
    history.push({ at: 0, peers: new Map([[2, video(0)], [3, video(0)]]) });
    history.push({ at: 1000, peers: new Map([[2, video(1000)], [4, video(9000)]]) });
    expect(history.points(2).at(-1)?.values.sent).toBe(8000);
    expect(history.points(3)).toEqual([]);
    expect(history.points(4)).toEqual([{ at: 1000, values: {} }]);
  });
});

describe("lines", () => {
  const points: Point[] = [
    { at: 0, values: { roundTrip: 0 } },
    { at: 1000, values: { roundTrip: 50 } },
    { at: 2000, values: {} },
    { at: 3000, values: { roundTrip: 200 } },
    { at: 60_000, values: { roundTrip: 100 } },
  ];

  it("break where a value is missing or time has jumped, and stay in the plot", () => {
    expect(linePath(points, "roundTrip", 100, 60, 10)).toBe("M0 10L1 5M3 0h0M60 0h0");
    expect(linePath([], "roundTrip", 100, 60, 10)).toBe("");
    expect(linePath(points, "encode", 100, 60, 10)).toBe("");
  });

  it("are summed up by what is known", () => {
    expect(summary(points, "roundTrip")).toEqual({ now: 100, lowest: 0, average: 87.5, highest: 200 });
    expect(summary(points.slice(0, 3), "roundTrip")?.now).toBeNull();
    expect(summary(points, "encode")).toBeNull();
  });

  it("have round scales that do not shrink below their floor", () => {
    expect([0, 99, 100, 101, 260, 501, 999].map((highest) => scaleTop(highest, 100))).toEqual([100, 100, 100, 200, 500, 1000, 1000]);
    expect(scaleTop(Number.NaN, 5)).toBe(5);
  });
});

describe("plots", () => {
  const spec = (name: string) => PLOTS.find((one) => one.name === name) ?? PLOTS[0]!;

  it("write one unit for all their figures", () => {
    const shown = plotted(spec("bitrate"), [{ at: 0, values: { sent: 2_100_000, received: 400_000 } }]);
    expect(shown).toMatchObject({ now: "2.1 / 0.4", unit: "Mbit/s", topText: "5 Mbit/s" });
    expect(shown.description).toBe("Sent and received, last 60 seconds. sent: 2.1 Mbit/s, between 2.1 and 2.1. received: 0.4 Mbit/s, between 0.4 and 0.4. estimated upload: not known.");
    expect(plotted(spec("bitrate"), [{ at: 0, values: { sent: 96_000 } }])).toMatchObject({ now: "96 / –", unit: "kbit/s", topText: "500 kbit/s" });
    expect(plotted(spec("loss"), [{ at: 0, values: { lostThere: 0.0123, lostHere: 0 } }])).toMatchObject({ now: "1.2 / 0.0", unit: "%", topText: "5 %" });
  });

  it("let an estimate far above what flows leave the picture", () => {
    expect(plotted(spec("bitrate"), [{ at: 0, values: { sent: 1_000_000, available: 90_000_000 } }]).top).toBe(5_000_000);
  });

  it("show dashes while nothing is known", () => {
    for (const one of PLOTS) {
      expect(plotted(one, []).now).toMatch(/^–( \/ –)?$/);
      expect(plotted(one, []).top).toBe(one.floor);
    }
  });

  it("have lines of one series each", () => {
    const series = PLOTS.flatMap(({ lines }) => lines.map((line) => line.series));
    expect(new Set(series).size).toBe(series.length);
    expect(scaleOf("ms", 0).write(6.25)).toBe("6.3");
  });
});

describe("the report", () => {
  const report = { timestamp: 1_700_000_000_000, participants: [{ id: 2, "outbound-rtp:video": { bytesSent: 5, qpSum: null }, pair: { currentRoundTripTime: 0.01 } }] };

  it("has the objects of webrtc-stats", () => {
    expect(rtcStats(report as never)).toEqual([
      { id: "2:outbound-rtp:video", type: "outbound-rtp", kind: "video", timestamp: report.timestamp, participant: 2, bytesSent: 5 },
      { id: "2:pair", type: "candidate-pair", timestamp: report.timestamp, participant: 2, currentRoundTripTime: 0.01 },
    ]);
  });

  it("is JSON with a time, and without names", () => {
    const jon = { id: 2, name: "Jon", states: { connection: "connected" }, quality: { level: "good", cause: null, reducedTo: null }, cameraOn: true, microphoneMuted: false };
    const context = { app: "Ahoy 1", state: "connected", signaling: "joined", connectedForMs: 5, shownBy: "", participants: [jon] as never };
    const text = reportText(report as never, context);
    expect(text).not.toContain("Jon");
    expect(JSON.parse(text)).toMatchObject({ timestamp: report.timestamp, app: "Ahoy 1", participants: [{ id: 2, quality: { level: "good" } }], stats: [{ type: "outbound-rtp" }, { type: "candidate-pair" }] });
    expect(JSON.parse(reportText(null, context))).toMatchObject({ timestamp: null, stats: [] });
  });
});
