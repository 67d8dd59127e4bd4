import { beforeEach, describe, expect, it, vi } from "vitest";
import { BackendError, type Backend } from "../backend";
import type { CallView, EndReason, LocalView, Notice, ParticipantView, RecentCall } from "../bindings";
import { App, COPIED_MS, DEVICES_MS, HEARD_MS, LONG_WAIT_MS, SLOW_CONNECT_MS, TURN_MS } from "./app";
import { BATCH_MS } from "./announcer";
import { ManualClock } from "./clock";
import { NO_CALL, SETTLE_MS } from "./screen";
import { MUTED_AGAIN_MS } from "./hints";
import { NOTE_MS } from "./notes";
import { DEFAULT_SETTINGS } from "./settings";
import { words } from "./words";

const CODE = { code: "4821-amber-otter", link: "ahoy://example.org/4821#amber-otter", reach: "server" as const, insteadOf: null };
const jon: ParticipantView = {
  id: 2,
  name: "Jon",
  microphoneMuted: false,
  microphoneUnplugged: false,
  cameraOn: true,
  states: { connection: "connected", iceConnection: "connected", iceGathering: "complete", signaling: "stable" },
  quality: { level: "good", cause: null, reducedTo: null },
};

/** Everything a backend can be asked, answered with success; single answers can be replaced. */
function fakeBackend() {
  const ok = () => vi.fn(async () => undefined as never);
  return {
    appState: vi.fn(async () => ({
      settings: { ...DEFAULT_SETTINGS, name: "Mira" },
      recentCalls: [],
      notices: [] as Notice[],
      platform: { softwareRendering: false, themeDark: true },
      fullScreen: false,
      invite: null,
      version: "1",
    })),
    watch: ok(),
    newCall: ok(),
    joinCall: ok(),
    reopenCall: ok(),
    hangUp: ok(),
    renewCode: ok(),
    checkCode: ok(),
    completeWord: ok(),
    setMicrophoneMuted: ok(),
    setCameraOn: ok(),
    selectCamera: ok(),
    selectMicrophone: ok(),
    selectSpeaker: ok(),
    setVideoConstraints: ok(),
    setProcessing: ok(),
    examineConnection: vi.fn(async () => []),
    listDevices: vi.fn(async () => ({ cameras: [], microphones: [], speakers: [] })),
    playTestSound: ok(),
    saveSettings: ok(),
    removeRecentCall: ok(),
    restoreRecentCall: ok(),
    copyText: ok(),
    stats: ok(),
    subscribeVideo: ok(),
    acknowledgeVideo: vi.fn(),
    requestKeyFrame: vi.fn(),
    unsubscribeVideo: vi.fn(),
    openRawVideo: ok(),
    setFullscreen: ok(),
    closeWindow: ok(),
  } satisfies Record<keyof Backend, unknown>;
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("App", () => {
  let backend: ReturnType<typeof fakeBackend>;
  let clock: ManualClock;
  let app: App;

  const view = (change: Partial<CallView>) => app.handle({ type: "view", view: { ...NO_CALL, ...change } });
  const ended = (reason: EndReason, connectedForMs: number | null = null) =>
    view({ state: { name: "ended", reason }, connectedForMs, invite: connectedForMs === null ? null : CODE });
  const inCall = (more: Partial<CallView> = {}) =>
    view({ state: { name: "connected" }, participants: [jon], invite: CODE, connectedForMs: 1000, signaling: "joined", ...more });

  beforeEach(async () => {
    backend = fakeBackend();
    clock = new ManualClock();
    app = new App(backend as unknown as Backend, clock, words, false);
    await app.start();
  });

  it("starts at home with what the app knows", () => {
    expect(app.model).toMatchObject({ phase: "ready", screen: "home", version: "1", systemDark: true });
    expect(app.model.settings.name).toBe("Mira");
    expect(backend.watch).toHaveBeenCalledOnce();
  });

  it("says so when the app does not answer", async () => {
    backend.appState.mockRejectedValueOnce(new Error("gone"));
    const dead = new App(backend as unknown as Backend, clock, words, false);
    await dead.start();
    expect(dead.model).toMatchObject({ phase: "failed", failure: "gone" });
  });

  describe("a new call", () => {
    it("shows the waiting screen at once, whatever late snapshots say", () => {
      app.newCall();
      expect(app.model.screen).toBe("waiting");
      view({});
      expect(app.model.screen).toBe("waiting");
      view({ state: { name: "joining" } });
      view({ state: { name: "waiting" }, invite: CODE });
      clock.advance(SETTLE_MS * 2);
      expect(app.model.screen).toBe("waiting");
      inCall();
      expect(app.model.screen).toBe("call");
    });

    it("goes home again when nothing follows", () => {
      app.newCall();
      clock.advance(SETTLE_MS);
      expect(app.model.screen).toBe("home");
    });

    it("is not begun twice", () => {
      app.newCall();
      app.newCall();
      app.join("1-a-b");
      expect(backend.newCall).toHaveBeenCalledOnce();
      expect(backend.joinCall).not.toHaveBeenCalled();
    });

    it("shows at home why the app refuses it", async () => {
      backend.newCall.mockRejectedValueOnce(new BackendError("engineStopped", "stopped"));
      app.newCall();
      await settle();
      expect(app.model.screen).toBe("home");
      expect(app.model.problem).toEqual({ kind: "refused", code: "engineStopped", message: "stopped" });
    });

    it("cancelled, leads home without a problem", () => {
      app.newCall();
      view({ state: { name: "waiting" }, invite: CODE });
      ended("hungUp");
      expect(app.model).toMatchObject({ screen: "home", problem: null });
    });

    it("says after ten minutes that nobody has come", () => {
      app.newCall();
      view({ state: { name: "waiting" }, invite: CODE });
      clock.advance(LONG_WAIT_MS - 1);
      expect(app.model.slow).toBe(false);
      clock.advance(1);
      expect(app.model.slow).toBe(true);
    });
  });

  describe("joining", () => {
    it.each(["unknownRoom", "roomFull", "serverUnreachable", "notAnAhoyServer", "serverRefused", "wrongCode", "codeRetired", "notVerified"] as const)(
      "tells %s at home and keeps the code",
      (reason) => {
        app.join("4821 amber otter");
        view({ state: { name: "joining" } });
        ended(reason);
        expect(app.model).toMatchObject({ screen: "home", lastJoin: "4821 amber otter", problem: { kind: "ended", reason } });
      },
    );

    it("tells a failure even when it looks exactly like the last one", () => {
      app.join("1-a-b");
      view({ state: { name: "joining" } });
      ended("unknownRoom");
      app.join("2-a-b");
      expect(app.model.problem).toBeNull();
      // Too fast for the snapshots in between: the same end is all that is seen.
      ended("unknownRoom");
      expect(app.model.screen).toBe("waiting");
      clock.advance(SETTLE_MS);
      expect(app.model).toMatchObject({ screen: "home", problem: { kind: "ended", reason: "unknownRoom" } });
    });

    it("remembers whether the server was the one of a link", () => {
      const fails = () => {
        view({ state: { name: "joining" } });
        ended("serverUnreachable");
        return app.model.problem;
      };
      app.join(CODE.link);
      expect(fails()).toMatchObject({ server: { name: "example.org", kept: false } });
      app.join(CODE.link, CODE.code);
      expect(fails()).toMatchObject({ server: { name: "example.org", kept: true } });
      app.join(CODE.code);
      expect(fails()).toMatchObject({ server: null });
      app.newCall();
      expect(fails()).toMatchObject({ server: null });
    });

    it("from the lobby comes back to it", () => {
      app.openLobby(CODE.link);
      expect(app.model.screen).toBe("lobby");
      app.join(CODE.link);
      view({ state: { name: "joining" } });
      expect(app.model.screen).toBe("waiting");
      ended("roomFull");
      expect(app.model).toMatchObject({ screen: "lobby", problem: { reason: "roomFull" } });
      app.goHome();
      expect(app.model).toMatchObject({ screen: "home", problem: null });
    });

    it("names the step when connecting takes long", () => {
      app.join("1-a-b");
      view({ state: { name: "connecting" }, participants: [jon] });
      expect(app.model).toMatchObject({ screen: "call", slow: false });
      clock.advance(SLOW_CONNECT_MS);
      expect(app.model.slow).toBe(true);
      inCall();
      expect(app.model.slow).toBe(false);
    });
  });

  describe("the end", () => {
    it("has a screen with how long it was and with whom, until it is left", () => {
      app.newCall();
      inCall({ connectedForMs: 60_000 });
      ended("everyoneLeft", 61_000);
      expect(app.model.screen).toBe("ended");
      expect(app.model.ended).toEqual({ reason: "everyoneLeft", durationMs: 61_000, code: CODE.code, link: CODE.link, names: ["Jon"], roomClosed: true });
      ended("everyoneLeft", 61_000);
      expect(app.model.screen).toBe("ended");
      app.goHome();
      expect(app.model.screen).toBe("home");
      ended("everyoneLeft", 61_000);
      expect(app.model.screen).toBe("home");
    });

    it("knows that a room is closed when nobody is left in it", () => {
      const ines = { ...jon, id: 3, name: "Ines" };
      const roomClosed = (participants: ParticipantView[], reason: EndReason) => {
        app.newCall();
        inCall({ participants });
        ended(reason, 2000);
        return app.model.ended?.roomClosed;
      };
      expect(roomClosed([jon], "everyoneLeft")).toBe(true);
      expect(roomClosed([jon], "hungUp"), "alone, the other leaves too").toBe(true);
      expect(roomClosed([jon, ines], "hungUp"), "the others go on").toBe(false);
      expect(roomClosed([jon], "connectionFailed"), "the other may wait there").toBe(false);
    });

    it("leads into the next call", () => {
      app.newCall();
      inCall();
      ended("hungUp", 2000);
      app.join(CODE.link, CODE.code);
      expect(app.model).toMatchObject({ screen: "waiting", ended: null });
      inCall({ connectedForMs: 0 });
      expect(app.model.screen).toBe("call");
      ended("connectionFailed", 5000);
      expect(app.model.ended?.reason).toBe("connectionFailed");
    });

    it("closes what only a call has", () => {
      inCall();
      app.toggleStats();
      app.toggleFullScreen();
      app.openDialog("invite");
      ended("hungUp", 2000);
      expect(app.model).toMatchObject({ statsOpen: false, fullScreen: false, dialog: null });
      expect(backend.setFullscreen).toHaveBeenLastCalledWith(false);
    });

    it("says politely once how a connection has changed, and nothing of an interruption", () => {
    const quality = (level: "good" | "fair" | "poor", cause: "uploadSlow" | "interrupted" | null, reducedTo: number | null = null) => inCall({ participants: [{ ...jon, quality: { level, cause, reducedTo } }] });
    const said: string[] = [];
    app.subscribe(({ announcement }) => {
      if (announcement.polite !== said.at(-1)) said.push(announcement.polite);
    });
    quality("good", null);
    clock.advance(BATCH_MS);
    said.length = 0;
    for (const lines of [360, 360, 540]) {
      quality("fair", "uploadSlow", lines);
      clock.advance(BATCH_MS);
    }
    expect(said.at(-1)).toBe("Jon: Fair connection. Your upload is slow: picture reduced to 360p.");
    const count = said.length;
    quality("poor", "interrupted");
    clock.advance(BATCH_MS);
    expect(said).toHaveLength(count);
    quality("fair", "uploadSlow", 360);
    quality("good", null);
    clock.advance(BATCH_MS);
    expect(said.at(-1)).toContain("The connection to Jon is good again.");
  });

  it("leaves open settings open", () => {
      inCall();
      app.openSettings("sound");
      ended("hungUp", 2000);
      expect(app.model).toMatchObject({ dialog: "settings", section: "sound" });
    });

    it("leaves the doctor's findings to be read when the call is over", () => {
      inCall();
      app.openDialog("doctor");
      ended("connectionFailed", 2000);
      expect(app.model.dialog).toBe("doctor");
    });
  });

  it("turns switches at once and asks the app", () => {
    app.toggleMicrophone();
    expect(app.model.call.local.microphoneMuted).toBe(true);
    expect(backend.setMicrophoneMuted).toHaveBeenCalledWith(true);
    app.toggleCamera();
    expect(backend.setCameraOn).toHaveBeenCalledWith(false);
    app.setCameraOn(false);
    expect(backend.setCameraOn).toHaveBeenCalledOnce();
  });

  it("does not let a snapshot that was under way turn a switch back", () => {
    app.toggleMicrophone();
    view({});
    expect(app.model.call.local.microphoneMuted).toBe(true);
    view({ local: { ...NO_CALL.local, microphoneMuted: true } });
    clock.advance(TURN_MS);
    expect(app.model.call.local.microphoneMuted).toBe(true);
  });

  it("turns a switch back when the app refuses, or does not do it", async () => {
    view({});
    backend.setCameraOn.mockRejectedValueOnce(new BackendError("engineStopped", "stopped"));
    app.toggleCamera();
    expect(app.model.call.local.cameraOn).toBe(false);
    await settle();
    expect(app.model.call.local.cameraOn).toBe(true);
    app.toggleMicrophone();
    clock.advance(TURN_MS);
    expect(app.model.call.local.microphoneMuted).toBe(false);
  });

  it("shows what a command failed with, without losing what was set", async () => {
    backend.saveSettings.mockRejectedValueOnce(new BackendError("badServer", "no such scheme"));
    app.saveSettings({ server: "x://y" });
    await settle();
    expect(app.model.note).toMatchObject({ key: "error-badServer", tone: "error", detail: "no such scheme" });
    expect(app.model.settings.server).toBe("x://y");
  });

  it("copies and says so for two seconds", async () => {
    await app.copy("code", "4821-amber-otter");
    expect(app.model.copied).toBe("code");
    clock.advance(COPIED_MS);
    expect(app.model.copied).toBeNull();
    backend.copyText.mockRejectedValueOnce(new BackendError("clipboardFailed", "no clipboard"));
    await app.copy("code", "x");
    expect(app.model.copied).toBeNull();
    expect(app.model.note?.key).toBe("error-clipboardFailed");
  });

  it("removes a recent call and brings it back", () => {
    const call: RecentCall = { id: "1", code: "1-a-b", link: "", server: null, names: ["Jon"], startedAtMs: 0, durationMs: 0 };
    app.handle({ type: "recentCalls", recentCalls: [call] });
    app.removeRecent(call);
    expect(app.model.recentCalls).toEqual([]);
    expect(backend.removeRecentCall).toHaveBeenCalledWith("1");
    app.model.note?.action?.run();
    expect(backend.restoreRecentCall).toHaveBeenCalledWith(call);
    expect(app.model.note).toBeNull();
  });

  it("hears somebody only while something is heard", () => {
    const level = (rms: number) => app.handle({ type: "levels", local: { rms, peak: rms }, participants: [[2, 0.05]] });
    level(0.1);
    expect(app.model).toMatchObject({ heard: true, speaking: [2] });
    clock.advance(HEARD_MS - 1);
    expect(app.model.heard).toBe(true);
    clock.advance(1);
    expect(app.model.heard).toBe(false);
    app.toggleMicrophone();
    level(0.5);
    expect(app.model.heard).toBe(false);
  });

  it("gathers what a screen reader says about comings and goings", () => {
    inCall();
    app.handle({ type: "event", event: { type: "participantJoined", id: 2 } });
    app.handle({ type: "event", event: { type: "participantLeft", id: 3, name: "Ines" } });
    expect(app.model.announcement.polite).toBe("");
    clock.advance(BATCH_MS);
    expect(app.model.announcement.polite).toContain("Jon joined.");
    expect(app.model.announcement.polite).toContain("Ines left.");
    expect(app.model.note?.title).toBe("Ines left.");
  });

  it("interrupts only for a lost or ended call", () => {
    inCall();
    expect(app.model.announcement.assertive).toBe("");
    view({ state: { name: "reconnecting" }, participants: [jon], connectedForMs: 2000 });
    expect(app.model.announcement.assertive).toContain("Reconnecting");
    ended("connectionFailed", 3000);
    expect(app.model.announcement.assertive).toContain("could not be connected");
  });

  describe("a wrong code", () => {
    it("is told, with how many more are allowed", () => {
      inCall();
      app.handle({ type: "event", event: { type: "wrongCode", left: 2 } });
      expect(app.model.note).toMatchObject({ key: "wrongCode", title: "Someone tried a wrong code" });
      clock.advance(BATCH_MS);
      expect(app.model.announcement.polite).toContain("Someone tried a wrong code");
      // The third is told by what stays of it.
      app.handle({ type: "event", event: { type: "wrongCode", left: 0 } });
      inCall({ codeRetired: true });
      expect(app.model.note).toMatchObject({ key: "codeRetired", sticky: true });
    });

    it("retires the code until there are new words", () => {
      inCall({ codeRetired: true });
      app.model.note?.action?.run();
      expect(backend.renewCode).toHaveBeenCalledOnce();
      inCall();
      app.handle({ type: "event", event: { type: "codeRenewed" } });
      expect(app.model.note?.key).toBe("codeRenewed");
    });
  });

  it("notes a device that fails in a call, until it runs", () => {
    const lost = { ...NO_CALL.local, camera: { ...NO_CALL.local.camera, problem: "lost" as const } };
    inCall({ local: lost });
    app.handle({ type: "event", event: { type: "deviceProblem", kind: "camera", problem: "lost", detail: "" } });
    expect(app.model.note?.key).toBe("device-camera");
    inCall();
    expect(app.model.note).toBeNull();
  });

  describe("a device", () => {
    const replaced = (kind: "microphone" | "speaker" | "camera", lostLabel = "Headset") =>
      app.handle({ type: "event", event: { type: "deviceReplaced", kind, lostLabel, label: "Built-in", problem: "lost" } });

    it.each(["home", "call"])("that was replaced and comes back is told, %s", (screen) => {
      if (screen === "call") inCall();
      replaced("microphone");
      expect(app.model.note).toMatchObject({ key: "moved-microphone", tone: "plain", title: "Headset was unplugged", detail: "Your microphone is Built-in until it is back." });
      app.handle({ type: "event", event: { type: "deviceReturned", kind: "microphone", label: "Headset" } });
      expect(app.model.note).toMatchObject({ key: "moved-microphone", title: "Headset is back" });
      clock.advance(BATCH_MS);
      expect(app.model.announcement.polite).toContain("Headset was unplugged. Your microphone is Built-in until it is back. Headset is back.");
      expect(app.model.announcement.assertive).toBe("");
      clock.advance(NOTE_MS);
      expect(app.model.note).toBeNull();
    });

    it("that comes and goes does not pile up", () => {
      const seen: (string | undefined)[] = [];
      app.subscribe(({ note }) => seen.at(-1) !== note?.title && seen.push(note?.title));
      for (let i = 0; i < 20; i++) replaced("microphone");
      replaced("speaker");
      for (let i = 0; i < 20; i++) replaced("speaker");
      clock.advance(2 * NOTE_MS);
      expect(seen).toEqual(["Headset was unplugged", "Headset was unplugged", undefined].filter((title, i, all) => title !== all[i - 1]));
      expect(app.model.note).toBeNull();
    });

    it("that is lost without another one is told with what to do, also at home", () => {
      app.handle({ type: "event", event: { type: "deviceProblem", kind: "microphone", problem: "lost", detail: "" } });
      expect(app.model.note).toMatchObject({ key: "device-microphone", tone: "error", title: "The microphone has stopped" });
      replaced("microphone");
      expect(app.model.note?.key).toBe("moved-microphone");
      app.handle({ type: "event", event: { type: "deviceProblem", kind: "microphone", problem: "lost", detail: "" } });
      expect(app.model.note?.key).toBe("device-microphone");
    });

    it("that was taken is not told twice by the row and a note", () => {
      app.handle({ type: "event", event: { type: "deviceProblem", kind: "microphone", problem: "busy", detail: "" } });
      app.handle({ type: "event", event: { type: "deviceProblem", kind: "camera", problem: "lost", detail: "" } });
      expect(app.model.note).toBeNull();
    });

    it("list is fetched once for changes that come together", () => {
      const before = backend.listDevices.mock.calls.length;
      for (const kind of ["microphone", "speaker", "camera"] as const) app.handle({ type: "event", event: { type: "devicesChanged", kind } });
      clock.advance(DEVICES_MS);
      expect(backend.listDevices.mock.calls.length).toBe(before + 1);
    });

    it("of somebody else that was unplugged is told as it happens, until it is back", () => {
      inCall({ participants: [{ ...jon, microphoneUnplugged: true }] });
      expect(app.model.note, "they came without one").toBeNull();
      inCall();
      inCall({ participants: [{ ...jon, microphoneUnplugged: true }] });
      expect(app.model.note).toMatchObject({ key: "unplugged-2", title: "Jon’s microphone was unplugged." });
      clock.advance(BATCH_MS);
      expect(app.model.announcement.polite).toContain("Jon’s microphone was unplugged.");
      inCall();
      expect(app.model.note).toBeNull();
    });
  });

  describe("a hint about the microphone", () => {
    const local = (change: Partial<LocalView>) => inCall({ local: { ...NO_CALL.local, ...change } });
    const talkingMuted = () => local({ microphoneMuted: true, microphoneHint: "speaking-while-muted" });

    it("says who talks while muted, over other notes, with a way out", () => {
      app.handle({ type: "event", event: { type: "participantLeft", id: 3, name: "Ines" } });
      talkingMuted();
      expect(app.model.note).toMatchObject({ key: "hint", tone: "muted", title: "You are muted", detail: "Hold Space to talk.", action: { label: "Unmute", key: "M" } });
      app.model.note?.action?.run();
      expect(backend.setMicrophoneMuted).toHaveBeenCalledExactlyOnceWith(false);
      expect(app.model.note?.key, "what it covered comes back").toBe("left");
    });

    it("says it at most once a minute, and lets it be read", () => {
      talkingMuted();
      clock.advance(20_000);
      expect(app.model.note?.key).toBe("hint");
      local({ microphoneMuted: true });
      expect(app.model.note?.key).toBe("hint");
      clock.advance(NOTE_MS);
      expect(app.model.note).toBeNull();
      talkingMuted();
      expect(app.model.note).toBeNull();
      local({ microphoneMuted: true });
      clock.advance(MUTED_AGAIN_MS);
      talkingMuted();
      expect(app.model.note?.key).toBe("hint");
    });

    it("that was closed does not come again before the microphone was open", () => {
      talkingMuted();
      app.closeNote("hint");
      local({ microphoneMuted: true });
      clock.advance(2 * MUTED_AGAIN_MS);
      talkingMuted();
      expect(app.model.note).toBeNull();
      local({});
      talkingMuted();
      expect(app.model.note?.key).toBe("hint");
    });

    it("does not mention Space to whom single keys are off", () => {
      app.saveSettings({ singleKeyShortcuts: false });
      talkingMuted();
      expect(app.model.note).toMatchObject({ detail: "", action: { key: undefined } });
    });

    it("makes room for news, and comes back", () => {
      local({ microphoneHint: "very-noisy" });
      expect(app.model.note?.key).toBe("hint");
      app.handle({ type: "event", event: { type: "deviceReplaced", kind: "microphone", lostLabel: "Headset", label: "Built-in", problem: "lost" } });
      expect(app.model.note).toMatchObject({ key: "moved-microphone", title: "Headset was unplugged" });
      clock.advance(NOTE_MS);
      expect(app.model.note?.key).toBe("hint");
    });

    it("that nothing is heard is told once for each microphone and call", () => {
      const headset = { ...NO_CALL.local.microphone, label: "Headset" };
      local({ microphoneHint: "nothing-heard" });
      expect(app.model.note).toMatchObject({ key: "hint", title: "We hear nothing from your microphone" });
      app.model.note?.action?.run();
      expect(app.model).toMatchObject({ dialog: "settings", section: "sound" });
      local({});
      expect(app.model.note).toBeNull();
      local({ microphoneHint: "nothing-heard" });
      expect(app.model.note, "the same one").toBeNull();
      local({ microphoneHint: "nothing-heard", microphone: headset });
      expect(app.model.note?.key, "another one").toBe("hint");
      app.closeNote("hint");
      local({});
      ended("hungUp", 2000);
      local({ microphoneHint: "nothing-heard", microphone: headset });
      expect(app.model.note?.key, "another call").toBe("hint");
    });

    it("that it is noisy offers noise suppression, and another microphone where that is on", () => {
      app.setProcessing({ noiseSuppression: false });
      local({ microphoneHint: "very-noisy" });
      expect(app.model.note).toMatchObject({ title: "Your microphone is very noisy", action: { label: "Suppress noise" } });
      app.model.note?.action?.run();
      expect(app.model.settings.processing.noiseSuppression).toBe(true);
      expect(backend.setProcessing).toHaveBeenLastCalledWith({ ...DEFAULT_SETTINGS.processing, noiseSuppression: true });
      expect(app.model.note).toBeNull();
      local({ microphoneHint: "very-noisy", microphone: { ...NO_CALL.local.microphone, label: "Headset" } });
      expect(app.model.note?.action?.label).toBe("Choose another");
    });

    it("is not given about silence that is wanted, nor outside of a call about being muted", () => {
      local({ microphoneMuted: true, microphoneHint: "nothing-heard" });
      expect(app.model.note).toBeNull();
      ended("hungUp", 2000);
      view({ local: { ...NO_CALL.local, microphoneMuted: true, microphoneHint: "speaking-while-muted" } });
      expect(app.model.note).toBeNull();
    });
  });

  describe("push-to-talk", () => {
    const muted = () => inCall({ local: { ...NO_CALL.local, microphoneMuted: true } });
    const asked = () => backend.setMicrophoneMuted.mock.calls.map(([muted]: unknown[]) => muted);

    it("unmutes while held and mutes again", async () => {
      muted();
      expect(app.startTalking()).toBe(true);
      expect(app.model).toMatchObject({ talking: true, call: { local: { microphoneMuted: false } } });
      await settle();
      app.stopTalking();
      expect(app.model).toMatchObject({ talking: false, call: { local: { microphoneMuted: true } } });
      expect(asked()).toEqual([false, true]);
    });

    it("asks in order, however short the press", async () => {
      let answer = (): void => undefined;
      backend.setMicrophoneMuted.mockImplementationOnce(() => new Promise<never>((resolve) => (answer = () => resolve(undefined as never))));
      muted();
      app.startTalking();
      app.stopTalking();
      expect(app.model.call.local.microphoneMuted).toBe(true);
      await settle();
      expect(asked(), "the first is not done").toEqual([false]);
      answer();
      await settle();
      expect(asked()).toEqual([false, true]);
    });

    it("does nothing outside of a call or unmuted", () => {
      view({ local: { ...NO_CALL.local, microphoneMuted: true } });
      expect(app.startTalking()).toBe(false);
      inCall();
      expect(app.startTalking()).toBe(false);
      app.stopTalking();
      expect(asked()).toEqual([]);
    });

    it("becomes unmuted for good by the switch", async () => {
      muted();
      app.startTalking();
      app.toggleMicrophone();
      await settle();
      app.stopTalking();
      expect(app.model).toMatchObject({ talking: false, call: { local: { microphoneMuted: false } } });
      expect(asked()).toEqual([false]);
    });

    it("ends with the call, muted", async () => {
      muted();
      app.startTalking();
      await settle();
      ended("everyoneLeft", 2000);
      await settle();
      expect(app.model.talking).toBe(false);
      expect(asked()).toEqual([false, true]);
    });

    it("that the app refuses is over", async () => {
      backend.setMicrophoneMuted.mockRejectedValueOnce(new BackendError("engineStopped", "stopped"));
      muted();
      app.startTalking();
      await settle();
      expect(app.model).toMatchObject({ talking: false, call: { local: { microphoneMuted: true } } });
    });

    it("tells nobody afterwards that they are muted", async () => {
      muted();
      app.startTalking();
      await settle();
      app.stopTalking();
      await settle();
      inCall({ local: { ...NO_CALL.local, microphoneMuted: true, microphoneHint: "speaking-while-muted" } });
      expect(app.model.note).toBeNull();
    });
  });

  describe("processing", () => {
    it("is switched at once, alone, and remembered", () => {
      app.setProcessing({ echoCancellation: false });
      app.setProcessing({ originalSound: true });
      const processing = { echoCancellation: false, noiseSuppression: true, autoGainControl: true, originalSound: true };
      expect(backend.setProcessing).toHaveBeenLastCalledWith(processing);
      expect(app.model.settings.processing).toEqual(processing);
      app.saveSettings({ name: "M" });
      expect(backend.saveSettings).toHaveBeenLastCalledWith(expect.objectContaining({ processing }));
    });

    it("is what it was when the app refuses", async () => {
      backend.setProcessing.mockRejectedValueOnce(new BackendError("engineStopped", "stopped"));
      app.setProcessing({ autoGainControl: false });
      expect(app.model.settings.processing.autoGainControl).toBe(false);
      await settle();
      expect(app.model.settings.processing.autoGainControl).toBe(true);
      expect(app.model.note?.key).toBe("error-engineStopped");
    });
  });

  it("asks before the window closes in a call", () => {
    inCall();
    app.handle({ type: "closeRequested" });
    expect(app.model.dialog).toBe("closing");
    app.closeWindow();
    expect(backend.closeWindow).toHaveBeenCalledOnce();
  });

  describe("full screen", () => {
    const windowManager = (on: boolean) => app.handle({ type: "fullScreen", on });

    it("follows the window manager", () => {
      inCall();
      windowManager(true);
      expect(app.model.fullScreen).toBe(true);
      windowManager(false);
      expect(app.model.fullScreen).toBe(false);
      expect(backend.setFullscreen).not.toHaveBeenCalled();
    });

    it("of the window manager stays, before and after a call", () => {
      windowManager(true);
      view({});
      inCall();
      ended("hungUp", 2000);
      expect(app.model.fullScreen).toBe(true);
      expect(backend.setFullscreen).not.toHaveBeenCalled();
    });

    it("that was left by the window manager is not left again", () => {
      inCall();
      app.toggleFullScreen();
      windowManager(true);
      windowManager(false);
      windowManager(true);
      ended("hungUp", 2000);
      expect(backend.setFullscreen.mock.calls).toEqual([[true]]);
    });

    it("can be ended here whoever began it", () => {
      inCall();
      windowManager(true);
      app.toggleFullScreen();
      expect(backend.setFullscreen.mock.calls).toEqual([[false]]);
    });
  });

  it("keeps notices until they are closed, one of each kind", async () => {
    const setAside: Notice = { code: "settingsSetAside", file: "/a/settings.broken-1.json" };
    backend.appState.mockImplementationOnce(async () => ({ ...(await fakeBackend().appState()), notices: [setAside] }));
    await app.start();
    expect(app.model.notices).toEqual([setAside]);
    expect(app.model.note, "nothing lies over the window").toBeNull();
    const notSaved: Notice = { code: "settingsNotSaved", file: "/a/settings.json" };
    app.handle({ type: "notice", notice: notSaved });
    app.handle({ type: "notice", notice: notSaved });
    expect(app.model.notices).toEqual([setAside, notSaved]);
    clock.advance(BATCH_MS);
    expect(app.model.announcement.polite).toContain("Your settings could not be understood");
    app.closeNotice("settingsSetAside");
    expect(app.model.notices).toEqual([notSaved]);
  });

  it("plays no sound without a speaker", () => {
    app.playTestSound();
    expect(backend.playTestSound).toHaveBeenCalledOnce();
    view({ local: { ...NO_CALL.local, speaker: { ...NO_CALL.local.speaker, problem: "notFound" } } });
    app.playTestSound();
    expect(backend.playTestSound).toHaveBeenCalledOnce();
  });

  it("follows the desktop's theme", () => {
    app.handle({ type: "theme", dark: false });
    expect(app.model.systemDark).toBe(false);
  });
});
