import { describe, expect, it } from "vitest";
import type { ParticipantView, QualityCause, QualityView } from "../bindings";
import { connectionText, pictureLabel } from "./connection";
import { NO_CALL } from "./screen";
import { aboutPerson, QualityNews, qualitySentence, qualityText, worstQuality } from "./quality";

const CAUSES: QualityCause[] = ["uploadSlow", "uploadLossy", "downloadLossy", "downloadFreezes", "delayLong", "computerBusy", "theirUploadSlow", "theirComputerBusy"];
const STATES = { connection: "connected", iceConnection: "connected", iceGathering: "complete", signaling: "stable" };
const GOOD: QualityView = { level: "good", cause: null, reducedTo: null };
const person = (quality: Partial<QualityView>, more: Partial<ParticipantView> = {}): ParticipantView => ({
  id: 2,
  name: "Jon",
  microphoneMuted: false,
  microphoneUnplugged: false,
  cameraOn: true,
  states: STATES,
  quality: { ...GOOD, ...quality },
  ...more,
});
const slow = { level: "fair", cause: "uploadSlow", reducedTo: 360 } as const;

describe("the words", () => {
  it("name every cause differently, with the size where the picture is reduced", () => {
    const text = (cause: QualityCause, reducedTo: number | null) => qualityText(person({ level: "poor", cause, reducedTo }))?.cause ?? "";
    expect(new Set(CAUSES.map((cause) => text(cause, null))).size).toBe(CAUSES.length);
    for (const cause of CAUSES) expect(text(cause, null)).not.toBe("");
    expect(text("uploadSlow", 360)).toBe("Your upload is slow: picture reduced to 360p");
    expect(text("computerBusy", 540)).toBe("This computer is busy: picture reduced to 540p");
    expect(text("theirUploadSlow", 180)).toBe("Jon’s upload is slow: their picture is reduced to 180p");
    expect(text("theirComputerBusy", 180)).toBe("Jon’s computer is busy: their picture is reduced to 180p");
    expect(text("downloadLossy", null)).toBe("Much of what Jon sends is lost on the way");
    expect(qualityText(person({ level: "fair", cause: "delayLong" }, { name: "" }))?.cause).toBe("It takes long until Somebody hears you");
  });

  it("say nothing where nothing is to be noticed", () => {
    expect(qualityText(person({}))).toBeNull();
    expect(qualityText(person({ level: "unknown" }))).toBeNull();
  });

  it("leave an interruption to the state of the connection", () => {
    expect(qualityText(person({ level: "poor", cause: "interrupted" }))).toBeNull();
    expect(qualityText(person(slow, { states: { ...STATES, connection: "disconnected" } }))).toBeNull();
    expect(qualityText(person(slow, { states: { ...STATES, connection: "connecting" } }))).toBeNull();
  });

  it("have fewer bars for a worse connection, and words for a level without a cause", () => {
    expect(qualityText(person(slow))).toMatchObject({ bars: 2, title: "Fair connection" });
    const poor = qualityText(person({ level: "poor", cause: null }));
    expect(poor).toMatchObject({ bars: 1, title: "Poor connection", cause: "" });
    expect(poor && qualitySentence(poor)).toBe("Poor connection.");
  });

  it("name the person once", () => {
    expect(aboutPerson("Jon", "Your upload is slow")).toBe("Jon: Your upload is slow");
    expect(aboutPerson("Jon", "Jon’s computer is busy")).toBe("Jon’s computer is busy");
    expect(aboutPerson("Jon", "")).toBe("");
  });

  it("are in the label of the picture", () => {
    expect(pictureLabel(person(slow), false)).toBe("Jon, camera on, fair connection");
    expect(pictureLabel(person({}), false)).toBe("Jon, camera on");
  });
});

describe("the state of the call", () => {
  const call = (participants: ParticipantView[]) => ({ ...NO_CALL, state: { name: "connected" as const }, signaling: "joined" as const, participants });

  it("is that of the worst connection", () => {
    const kenji = person({ level: "poor", cause: "theirComputerBusy", reducedTo: 180 }, { id: 3, name: "Kenji" });
    expect(worstQuality([person(slow), kenji])?.participant.id).toBe(3);
    expect(worstQuality([person({})])).toBeNull();
    expect(connectionText(call([person(slow), kenji]))).toEqual({ tone: "poor", title: "Poor connection", detail: "Kenji’s computer is busy: their picture is reduced to 180p", bars: 1 });
    expect(connectionText(call([person(slow)]))).toEqual({ tone: "fair", title: "Fair connection", detail: "Your upload is slow: picture reduced to 360p", bars: 2 });
    expect(connectionText(call([person({}), person(slow, { id: 3, name: "Ines" })])).detail).toBe("Ines: Your upload is slow: picture reduced to 360p");
  });

  it("is called good only when all are known to be", () => {
    expect(connectionText(call([person({})]))).toMatchObject({ title: "Good connection", bars: 3 });
    expect(connectionText(call([person({}), person({ level: "unknown" }, { id: 3 })]))).toMatchObject({ title: "Connected", bars: null });
  });
});

describe("QualityNews", () => {
  it("says each change once, and that it is over", () => {
    const news = new QualityNews();
    expect(news.update([person({ level: "unknown" })])).toEqual([]);
    expect(news.update([person({})])).toEqual([]);
    expect(news.update([person(slow)])).toEqual(["Jon: Fair connection. Your upload is slow: picture reduced to 360p."]);
    expect(news.update([person(slow)])).toEqual([]);
    expect(news.update([person({ ...slow, reducedTo: 540 })])).toEqual([]);
    expect(news.update([person({ ...slow, level: "poor", reducedTo: 180 })])).toEqual(["Jon: Poor connection. Your upload is slow: picture reduced to 180p."]);
    expect(news.update([person({ level: "fair", cause: "downloadLossy" })])).toEqual(["Fair connection. Much of what Jon sends is lost on the way."]);
    expect(news.update([person({})])).toEqual(["The connection to Jon is good again."]);
    expect(news.update([person({})])).toEqual([]);
  });

  it("keeps people apart and forgets who has left", () => {
    const news = new QualityNews();
    const ines = person(slow, { id: 3, name: "Ines" });
    expect(news.update([person({}), ines])).toHaveLength(1);
    expect(news.update([person({})])).toEqual([]);
    expect(news.update([person({}), ines])).toHaveLength(1);
  });

  it("does not repeat what the state of the connection says", () => {
    const news = new QualityNews();
    news.update([person(slow)]);
    expect(news.update([person({ level: "poor", cause: "interrupted" }, { states: { ...STATES, connection: "disconnected" } })])).toEqual([]);
    expect(news.update([person({})])).toEqual([]);
  });
});
