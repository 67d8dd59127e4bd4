import { describe, expect, it } from "vitest";
import { bitrate, rawMembers, sampleOf, statsRows, type PeerStats, type StatsSample } from "./stats";

const sample = (at: number, stats: PeerStats): StatsSample => ({ at, peers: new Map([[2, stats]]) });
const value = (rows: ReturnType<typeof statsRows>, name: string) => rows.find((row) => row.name === name)?.value;

describe("statsRows", () => {
  const first: PeerStats = {
    "outbound-rtp:video": { bytesSent: 1000, framesEncoded: 0, frameWidth: 1280, frameHeight: 720 },
    "outbound-rtp:audio": { bytesSent: 0 },
    "inbound-rtp:video": { packetsLost: 10, packetsReceived: 90, jitterBufferDelay: 1, jitterBufferEmittedCount: 10 },
    "inbound-rtp:audio": { concealedSamples: 0, totalSamplesReceived: 0 },
    pair: { currentRoundTripTime: 0.0382, localCandidateType: "host", remoteCandidateType: "srflx" },
  };
  const second: PeerStats = {
    "outbound-rtp:video": { bytesSent: 501_000, framesEncoded: 60, frameWidth: 1280, frameHeight: 720 },
    "outbound-rtp:audio": { bytesSent: 8000 },
    "inbound-rtp:video": { packetsLost: 11, packetsReceived: 189, jitterBufferDelay: 2, jitterBufferEmittedCount: 70 },
    "inbound-rtp:audio": { concealedSamples: 960, totalSamplesReceived: 96_000 },
    pair: { currentRoundTripTime: 0.0382, localCandidateType: "host", remoteCandidateType: "srflx" },
  };

  it("makes rates from two reports", () => {
    const rows = statsRows(sample(2000, second), sample(0, first), 2);
    expect(value(rows, "roundTrip")).toBe("38 ms");
    expect(value(rows, "sent")).toBe("2.0 Mbit/s");
    expect(value(rows, "soundSent")).toBe("32 kbit/s");
    expect(value(rows, "pictureSent")).toBe("1280 × 720, 30 fps");
    expect(value(rows, "lostHere")).toBe("1.0 %");
    expect(value(rows, "concealed")).toBe("1.0 %");
    expect(value(rows, "videoDelay")).toBe("17 ms");
    expect(value(rows, "path")).toBe("host → srflx");
  });

  it("shows no rate from a single report and makes nothing up", () => {
    const rows = statsRows(sample(0, first), null, 2);
    expect(value(rows, "sent")).toBeUndefined();
    expect(value(rows, "freezes")).toBeUndefined();
    expect(value(rows, "pictureSent")).toBe("1280 × 720");
    expect(statsRows(sample(0, {}), null, 2)).toEqual([]);
    expect(statsRows(sample(0, first), null, 3)).toEqual([]);
  });

  it("shows how sound was buffered, filled in, repaired, stretched and how loud it is", () => {
    const audio = (members: PeerStats[string]): PeerStats => ({ "inbound-rtp:audio": members });
    const zero = { totalSamplesReceived: 0, concealmentEvents: 0, fecSamples: 0, insertedSamplesForDeceleration: 0, removedSamplesForAcceleration: 0, totalAudioEnergy: 0, totalSamplesDuration: 0, jitterBufferDelay: 0, jitterBufferTargetDelay: 0, jitterBufferEmittedCount: 0 };
    const later = { totalSamplesReceived: 48_000, concealmentEvents: 3, fecSamples: 960, insertedSamplesForDeceleration: 48, removedSamplesForAcceleration: 0, totalAudioEnergy: 0.01, totalSamplesDuration: 1, jitterBufferDelay: 1920, jitterBufferTargetDelay: 1440, jitterBufferEmittedCount: 48_000, somethingNew: 7 };
    const rows = statsRows(sample(1000, audio(later)), sample(0, audio(zero)), 2);
    expect(value(rows, "audioDelay")).toBe("40 ms");
    expect(value(rows, "audioTarget")).toBe("30 ms");
    expect(value(rows, "concealments")).toBe("3");
    expect(value(rows, "recovered")).toBe("2.0 % / –");
    expect(value(rows, "stretched")).toBe("0.1 % / 0.0 %");
    expect(value(rows, "loudness")).toBe("−20 dBFS");
    expect(value(statsRows(sample(0, audio({ audioLevel: 0 })), null, 2), "loudness")).toBe("−∞ dBFS");
    expect(rawMembers(audio(later)).some(({ member }) => member === "somethingNew")).toBe(true);
    expect(rawMembers(audio({ nested: { a: 1 } } as never))).toEqual([{ object: "inbound-rtp:audio", member: "nested", value: '{"a":1}' }]);
  });

  it("does not take a counter that began anew for a rate", () => {
    const rows = statsRows(sample(2000, first), sample(0, second), 2);
    expect(value(rows, "sent")).toBeUndefined();
  });
});

describe("the report", () => {
  it("keeps only objects of statistics", () => {
    const parsed = sampleOf({ timestamp: 0, participants: [{ id: 2, pair: { bytesSent: 1 } }] } as never, 5);
    expect(parsed.peers.get(2)).toEqual({ pair: { bytesSent: 1 } });
  });

  it("lists members by name without those that are unknown", () => {
    expect(rawMembers({ pair: { b: 2, a: 1.23456789, c: null }, "inbound-rtp:audio": { x: "y" } })).toEqual([
      { object: "inbound-rtp:audio", member: "x", value: "y" },
      { object: "pair", member: "a", value: "1.234568" },
      { object: "pair", member: "b", value: "2" },
    ]);
  });

  it("writes bit rates", () => {
    expect(bitrate(null)).toBeNull();
    expect(bitrate(0)).toBe("0 kbit/s");
    expect(bitrate(125_000)).toBe("1.0 Mbit/s");
  });
});
