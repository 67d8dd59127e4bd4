import { describe, expect, it } from "vitest";
import type { Check, CheckSeverity } from "../bindings";
import { checkSummary, severityLabel } from "./checks";
import { isIceUrl, isTurnUrl } from "./iceServers";

const check = (severity: CheckSeverity): Check => ({ code: severity, severity, sentence: "", remedy: null });

describe("the doctor in words", () => {
  it("says the worst", () => {
    expect(checkSummary([])).toBe("Nothing stands in the way of calls.");
    expect(checkSummary([check("note"), check("fine")])).toBe("Nothing stands in the way of calls.");
    expect(checkSummary([check("warning"), check("fine")])).toContain("1");
    expect(checkSummary([check("problem"), check("problem"), check("warning")])).toContain("2");
  });

  it("names every severity", () => {
    const labels = (["fine", "note", "warning", "problem"] as const).map(severityLabel);
    expect(new Set(labels).size).toBe(4);
  });
});

describe("STUN and TURN servers", () => {
  it.each(["stun:stun.example.org", "turn:t.example:3478", "turns:t.example:443?transport=tcp", "TURN:[2001:db8::1]:3478", " turn:t.example?transport=udp "])("takes %s", (text) => {
    expect(isIceUrl(text)).toBe(true);
  });

  it.each(["", "turn:", "http://t.example", "turn://t.example", "turn:a b", "stun:x:port", "turn:t?transport=tls"])("does not take %s", (text) => {
    expect(isIceUrl(text)).toBe(false);
  });

  it("knows which ones relay", () => {
    expect([isTurnUrl("turns:a"), isTurnUrl("turn:a"), isTurnUrl("stun:a")]).toEqual([true, true, false]);
  });
});
