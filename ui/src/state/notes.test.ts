import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "./clock";
import { MAX_WAITING, NOTE_MS, Notes, type Note } from "./notes";

const note = (key: string, more: Partial<Note> = {}): Note => ({ key, tone: "plain", title: key, ...more });

describe("Notes", () => {
  let clock: ManualClock;
  let notes: Notes;
  let seen: (string | null)[];

  beforeEach(() => {
    clock = new ManualClock();
    seen = [];
    notes = new Notes(clock, (shown) => seen.push(shown?.key ?? null));
  });

  it("shows one at a time, each for its time", () => {
    notes.push(note("a"));
    notes.push(note("b"));
    expect(seen).toEqual(["a"]);
    clock.advance(NOTE_MS);
    expect(seen).toEqual(["a", "b"]);
    clock.advance(NOTE_MS);
    expect(seen).toEqual(["a", "b", null]);
    expect(clock.pending).toBe(0);
  });

  it("stands still under pointer or focus", () => {
    notes.push(note("a"));
    clock.advance(NOTE_MS - 2000);
    notes.hold(true);
    clock.advance(60_000);
    expect(notes.shown?.key).toBe("a");
    notes.hold(false);
    clock.advance(1999);
    expect(notes.shown?.key).toBe("a");
    clock.advance(1);
    expect(notes.shown).toBeNull();
  });

  it("keeps errors until they are closed, but not in the way of what follows", () => {
    notes.push(note("error", { sticky: true }));
    clock.advance(600_000);
    expect(notes.shown?.key).toBe("error");
    notes.push(note("next"));
    clock.advance(NOTE_MS);
    expect(notes.shown?.key).toBe("next");
  });

  it("replaces a note of the same key", () => {
    notes.push(note("a"));
    notes.push(note("a", { title: "newer" }));
    expect(notes.shown?.title).toBe("newer");
    clock.advance(NOTE_MS);
    expect(notes.shown).toBeNull();
  });

  it("forgets the oldest of too many", () => {
    for (let i = 0; i <= MAX_WAITING + 1; i++) notes.push(note(String(i)));
    for (let i = 0; i < MAX_WAITING + 2; i++) clock.advance(NOTE_MS);
    expect(seen).toEqual(["0", "2", "3", "4", "5", null]);
  });

  it("closes by key, also while waiting", () => {
    notes.push(note("a"));
    notes.push(note("b"));
    notes.close("b");
    notes.close("a");
    expect(notes.shown).toBeNull();
  });

  it("are not said again with the same words, but stay longer", () => {
    notes.push(note("a"));
    clock.advance(NOTE_MS - 1);
    notes.push(note("a"));
    expect(seen).toEqual(["a"]);
    clock.advance(NOTE_MS - 1);
    expect(notes.shown?.key).toBe("a");
    clock.advance(1);
    expect(notes.shown).toBeNull();
  });

  it("that are urgent come first, and the other one afterwards", () => {
    notes.push(note("a"));
    notes.push(note("b"));
    notes.push(note("now", { urgent: true }));
    clock.advance(3 * NOTE_MS);
    expect(seen).toEqual(["a", "now", "a", "b", null]);
  });

  it("that are urgent wait for one that is being read", () => {
    notes.push(note("a"));
    notes.hold(true);
    notes.push(note("now", { urgent: true }));
    expect(seen).toEqual(["a"]);
  });

  it("that were to stay go after their time once released", () => {
    notes.push(note("a", { sticky: true }));
    clock.advance(60_000);
    notes.release("a");
    expect(notes.shown?.key).toBe("a");
    clock.advance(NOTE_MS);
    expect(notes.shown).toBeNull();
  });
});
