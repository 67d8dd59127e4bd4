import { beforeEach, describe, expect, it } from "vitest";
import type { CodeCheck, CodeProblemKind } from "../bindings";
import { CodeField, looksLikeLink, wordRange } from "./codeEntry";

const WORDS = ["amber", "amend", "otter", "river"];

function check(text: string): CodeCheck {
  const bad = (kind: CodeProblemKind, word: string | null = null, nearest: string | null = null): CodeCheck => ({
    ok: false,
    normalized: "",
    problem: { kind, word, nearest },
    hasServer: false,
  });
  if (text.includes("://")) return { ok: true, normalized: "4821-amber-otter", problem: null, hasServer: true };
  const parts = text.trim().toLowerCase().split(/[\s-]+/).filter(Boolean);
  if (parts.length === 0) return bad("empty");
  if (!/^\d+$/.test(parts[0] ?? "")) return bad("numberMissing");
  const wrong = parts.slice(1).find((word) => !WORDS.includes(word));
  if (wrong) return bad("unknownWord", wrong, wrong === "oter" ? "otter" : null);
  if (parts.length < 3) return bad("wordsMissing");
  return parts.length > 3 ? bad("tooManyWords") : { ok: true, normalized: parts.join("-"), problem: null, hasServer: false };
}

describe("CodeField", () => {
  let field: CodeField;
  let answers: (() => void)[];
  let slow: boolean;

  beforeEach(() => {
    slow = false;
    answers = [];
    const answer = <T>(value: T) =>
      slow ? new Promise<T>((resolve) => answers.push(() => resolve(value))) : Promise.resolve(value);
    field = new CodeField(
      {
        checkCode: (text) => answer(check(text)),
        completeWord: (prefix) => answer(WORDS.filter((word) => word.startsWith(prefix))),
      },
      () => undefined,
    );
  });

  it("says nothing about a word that is still being typed", async () => {
    await field.type("4821 am");
    expect(field.entry.problem).toBeNull();
    expect(field.entry.ghost).toBe("ber");
  });

  it("says at once that a word is not on the list", async () => {
    await field.type("4821 amber oter");
    expect(field.entry.problem).toEqual({ kind: "unknownWord", word: "oter", nearest: "otter" });
  });

  it("replaces a wrong word by the nearest", async () => {
    await field.type("4821 amber oter");
    expect(field.useNearest()).toBe("4821 amber otter");
    await Promise.resolve();
    await field.type(field.entry.text);
    expect(field.entry.ready).toBe(true);
  });

  it("completes a beginning that only one word has when a separator follows", async () => {
    await field.type("4821 ambe");
    await field.type("4821 ambe-");
    expect(field.entry.text).toBe("4821 amber-");
    await field.type("4821 amber-ame");
    await field.type("4821 amber-am");
    await field.type("4821 amber-am ");
    expect(field.entry.text).toBe("4821 amber-am ");
  });

  it("does not complete while letters are taken away", async () => {
    await field.type("4821 ambe-o");
    await field.type("4821 ambe-");
    expect(field.entry.text).toBe("4821 ambe-");
  });

  it("takes the grey letters", async () => {
    await field.type("4821 amber ot");
    expect(field.acceptGhost()).toBe("4821 amber otter");
  });

  it("keeps the grey letters in place while the typed ones agree", async () => {
    await field.type("4821 amb");
    slow = true;
    void field.type("4821 ambe");
    expect(field.entry.ghost).toBe("r");
    void field.type("4821 ambx");
    expect(field.entry.ghost).toBe("");
  });

  it("joins with an unfinished last word that only one word continues", async () => {
    await field.type("4821 amber ott");
    expect(await field.submit()).toBe("4821 amber otter");
  });

  it("shows on submitting what is missing", async () => {
    await field.type("4821 amber");
    expect(field.entry.problem).toBeNull();
    expect(await field.submit()).toBeNull();
    expect(field.entry.problem?.kind).toBe("wordsMissing");
    await field.type("");
    expect(await field.submit()).toBeNull();
    expect(field.entry.problem?.kind).toBe("empty");
  });

  it("misses the number once a word is whole", async () => {
    await field.type("amber");
    expect(field.entry.problem).toBeNull();
    await field.type("amber ");
    expect(field.entry.problem?.kind).toBe("numberMissing");
  });

  it("takes links without completing anything", async () => {
    await field.type("ahoy://example.org/4821#amber-otter");
    expect(field.entry).toMatchObject({ isLink: true, ready: true, ghost: "" });
    expect(looksLikeLink("4821 amber otter")).toBe(false);
  });

  it("ignores answers to what is no longer there", async () => {
    slow = true;
    void field.type("4821 amber oter");
    void field.type("4821 amber otter");
    for (const late of answers.splice(0)) late();
    await new Promise((resolve) => setTimeout(resolve, 0));
    for (const late of answers.splice(0)) late();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(field.entry.text).toBe("4821 amber otter");
    expect(field.entry.problem).toBeNull();
  });
});

describe("wordRange", () => {
  it("finds whole words only, in any case", () => {
    expect(wordRange("4821-Amber-oter", "oter")).toEqual({ start: 11, end: 15 });
    expect(wordRange("4821 oters oter", "oter")).toEqual({ start: 11, end: 15 });
    expect(wordRange("4821 amber", "oter")).toBeNull();
  });
});
