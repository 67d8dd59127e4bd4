import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import messages from "../../messages/en.json";
import type { CodeProblemKind, DeviceKind, DeviceProblem, EndReason, NoticeCode } from "../bindings";
import { connectingStep, connectionText, pictureLabel } from "./connection";
import { NO_CALL } from "./screen";
import { callProblem, codeProblem, day, deviceProblem, deviceReplaced, deviceReturned, duration, endAdvice, endReason, notice, people, reach, refused } from "./words";

const KINDS: DeviceKind[] = ["camera", "microphone", "speaker"];
const PROBLEMS: DeviceProblem[] = ["notFound", "busy", "denied", "lost", "unsupported", "file", "failed"];
const REASONS: EndReason[] = ["hungUp", "everyoneLeft", "unknownRoom", "numberTaken", "roomFull", "serverUnreachable", "notAnAhoyServer", "serverLost", "serverRefused", "connectionFailed", "wrongCode", "codeRetired", "notVerified"];
const CODE_PROBLEMS: CodeProblemKind[] = ["empty", "tooLong", "numberMissing", "numberOutOfRange", "numberTwice", "wordsMissing", "tooManyWords", "unknownWord", "unexpectedCharacter", "badServer", "foreignLink"];
const NOTICES: NoticeCode[] = ["settingsSetAside", "settingsUnreadable", "settingsNotSaved", "recentCallsSetAside", "recentCallsUnreadable", "recentCallsNotSaved"];

describe("sentences", () => {
  it("say of every device problem what it is and what to do", () => {
    const seen = new Set(KINDS.flatMap((kind) => PROBLEMS.map((problem) => Object.values(deviceProblem(kind, problem)).join(" "))));
    expect(seen.size).toBe(KINDS.length * PROBLEMS.length);
    expect(deviceProblem("camera", "notFound").title).toBe("No camera found");
    expect(deviceProblem("camera", "notFound").detail).toContain("You can still call with sound");
  });

  it("say of every stand-in what is missed, why and what is used", () => {
    for (const kind of KINDS) {
      for (const problem of PROBLEMS) {
        const { title, detail } = deviceReplaced(kind, "Headset", "Built-in", problem);
        expect(title).toContain("Headset");
        expect(detail).toContain("Built-in until it is back");
        expect(deviceReplaced(kind, "", "Built-in", problem).title).toMatch(/[Yy]our /);
      }
      expect(deviceReturned(kind, "Headset").title).toBe("Headset is back");
    }
    expect(deviceReplaced("microphone", "Headset", "Built-in", "lost").title).toBe("Headset was unplugged");
  });

  it("name every end, with advice where something can be done", () => {
    expect(new Set(REASONS.map(endReason)).size).toBe(REASONS.length);
    for (const reason of REASONS) expect(endAdvice(reason) === "").toBe(reason === "hungUp" || reason === "everyoneLeft");
  });

  it("name every mistake in a code", () => {
    expect(new Set(CODE_PROBLEMS.map((kind) => codeProblem({ kind, word: "x", nearest: null }))).size).toBe(CODE_PROBLEMS.length);
    expect(refused("something new")).toBe("That did not work");
  });

  it("name every notice, with its file", () => {
    const sentences = NOTICES.map((code) => notice({ code, file: "/home/mira/settings.json" }));
    expect(new Set(sentences.map(({ title }) => title)).size).toBe(NOTICES.length);
    for (const { detail } of sentences) expect(detail).toContain("/home/mira/settings.json");
    expect(notice({ code: "settingsSetAside", file: "/a/settings.broken-1.json" }).detail).toContain("The old file is kept as /a/settings.broken-1.json.");
  });

  it("do not send to the settings for a server that a link named", () => {
    const problem = (reason: EndReason, server: { name: string; kept: boolean } | null) => callProblem({ kind: "ended", reason, server });
    for (const reason of ["serverUnreachable", "notAnAhoyServer"] as const) {
      expect(problem(reason, null).detail).toContain("in the settings");
      for (const kept of [true, false]) {
        const { title, detail } = problem(reason, { name: "call.example.org", kept });
        expect(title + detail).not.toContain("settings");
        expect(detail).toContain("call.example.org");
        expect((title + detail).includes("invite link")).toBe(!kept);
      }
    }
    expect(problem("serverUnreachable", { name: "a", kept: false }).title).toBe("The server in the invite link does not answer");
    expect(problem("roomFull", { name: "a", kept: false })).toEqual(problem("roomFull", null));
  });

  it("say how far an invite reaches, and what it stands in for", () => {
    const texts = (["thisComputer", "localNetwork", "server"] as const).map((kind) => reach(kind, "call.example.org", null));
    expect(new Set(texts).size).toBe(3);
    expect(reach("localNetwork", "192.168.1.20", "call.example.org")).toContain("call.example.org does not answer, so this works on this network only.");
  });

  it("count time as people do", () => {
    expect(duration(40_000)).toBe("40 s");
    expect(duration(24 * 60_000)).toBe("24 min");
    expect(duration(62 * 60_000)).toBe("1 h 02 min");
    const now = new Date(2026, 10, 21, 12);
    expect(day(new Date(2026, 10, 20, 9), now)).toBe("Yesterday");
    expect(day(new Date(2026, 10, 17, 9), now)).toBe("Tuesday");
    expect(day(new Date(2026, 10, 9, 9), now)).toBe("9 November");
    expect(day(new Date(2026, 10, 21, 9, 5), now)).toBe("09:05");
  });

  it("list people", () => {
    expect(people({ names: ["Jon"], code: "" })).toBe("Jon");
    expect(people({ names: ["Adaeze", "", "Ines", "Kenji"], code: "" })).toBe("Adaeze, Ines and Kenji");
    expect(people({ names: [], code: "1-a-b" })).toBe("Nobody gave a name");
  });

  it("claim no more than the states say", () => {
    const person = { id: 2, name: "", microphoneMuted: true, microphoneUnplugged: false, cameraOn: false, states: { connection: "new", iceConnection: "checking", iceGathering: "", signaling: "" }, quality: { level: "unknown" as const, cause: null, reducedTo: null } };
    expect(connectingStep(person)).toBe("Looking for a way to Somebody…");
    expect(pictureLabel(person, false)).toBe("Somebody, microphone muted, camera off");
    const call = { ...NO_CALL, participants: [{ ...person, name: "Jon" }] };
    expect(connectionText({ ...call, state: { name: "connecting" } })).toMatchObject({ tone: "pending", title: "Connecting…" });
    expect(connectionText({ ...call, state: { name: "connected" } })).toEqual({ tone: "good", title: "Connected", detail: "With Jon, encrypted", bars: null });
    expect(connectionText({ ...call, state: { name: "connected" }, signaling: "lost" }).tone).toBe("pending");
    expect(connectionText({ ...call, state: { name: "reconnecting" } })).toMatchObject({ tone: "broken", title: "Reconnecting…" });
  });
});

describe("messages/en.json", () => {
  const source = files("src")
    .filter((name) => /\.(ts|svelte)$/.test(name) && !name.includes("paraglide") && !name.endsWith(".test.ts"))
    .map((name) => readFileSync(name, "utf8"))
    .join("\n");

  it("has no string that nothing uses", () => {
    const unused = Object.keys(messages).filter((key) => key !== "$schema" && !new RegExp(`\\bm\\.${key}\\b`).test(source));
    expect(unused).toEqual([]);
  });

  it("has no exclamation marks and no straight quotes", () => {
    for (const [key, text] of Object.entries(messages)) if (key !== "$schema") expect(text, key).not.toMatch(/[!"']/);
  });

  it("is where the words of the components come from", () => {
    const offenders = files("src").filter((name) => name.endsWith(".svelte")).flatMap((name) => {
      const markup = readFileSync(name, "utf8").replace(/<script[\s\S]*?<\/script>/g, "").replace(/<style[\s\S]*?<\/style>/g, "").replace(/<!--[\s\S]*?-->/g, "");
      const literal = [...markup.matchAll(/(?:aria-label|placeholder|label|title)="([A-Za-z][^"{]*)"/g)].map((match) => match[1]);
      return literal.filter((text) => !/^(dialog|menu)/.test(text ?? "")).map((text) => `${name}: ${text}`);
    });
    expect(offenders).toEqual([]);
  });
});

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}
