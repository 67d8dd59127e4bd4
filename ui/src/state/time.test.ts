import { describe, expect, it } from "vitest";
import { CallClock, clockText, dayKind, durationParts } from "./time";

describe("clockText", () => {
  it.each([
    [0, "0:00"],
    [999, "0:00"],
    [61_000, "1:01"],
    [724_000, "12:04"],
    [3_753_000, "1:02:33"],
    [-5, "0:00"],
  ])("%d ms is %s", (ms, text) => expect(clockText(ms)).toBe(text));
});

describe("durationParts", () => {
  it("rounds to whole seconds", () => {
    expect(durationParts(59_600)).toEqual({ hours: 0, minutes: 1, seconds: 0 });
    expect(durationParts(3_720_000)).toEqual({ hours: 1, minutes: 2, seconds: 0 });
  });
});

describe("dayKind", () => {
  const now = new Date(2026, 10, 21, 0, 30);
  it.each([
    [new Date(2026, 10, 21, 0, 10), "today"],
    [new Date(2026, 10, 20, 23, 59), "yesterday"],
    [new Date(2026, 10, 15, 12), "weekday"],
    [new Date(2026, 10, 14, 12), "date"],
    [new Date(2026, 10, 22, 12), "today"],
  ] as const)("%s", (then, kind) => expect(dayKind(then, now)).toBe(kind));
});

describe("CallClock", () => {
  it("runs on between snapshots and never jumps back for a repeated one", () => {
    const clock = new CallClock();
    expect(clock.elapsed(0)).toBeNull();
    clock.update(1000, 0);
    expect(clock.elapsed(500)).toBe(1500);
    clock.update(1000, 600);
    expect(clock.elapsed(700)).toBe(1700);
    clock.update(3000, 1000);
    expect(clock.elapsed(1000)).toBe(3000);
  });

  it("begins anew with the next call", () => {
    const clock = new CallClock();
    clock.update(60_000, 0);
    clock.update(0, 10);
    expect(clock.elapsed(20)).toBe(10);
    clock.update(null, 30);
    expect(clock.elapsed(40)).toBeNull();
  });
});
