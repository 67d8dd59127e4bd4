// Stands in for the app in browser tests and design work: a script that answers commands and can
// be told what to report. Absent from production builds. It is no part of what Ahoy does.

import { BackendError, type Backend } from "../backend";
import type { AppState, CallEvent, CallView, Check, CodeCheck, Devices, EndReason, ParticipantView, QualityView, RecentCall, UiMessage, VideoTile } from "../bindings";
import { NO_CALL } from "../state/screen";
import { DEFAULT_SETTINGS, type Settings } from "../state/settings";
import { RATES, SCENES, SceneStream } from "./scenes";

const WORDS = ["amber", "anchor", "apple", "banjo", "brisk", "cedar", "comet", "heron", "maple", "otter", "quiet", "river", "velvet", "warm"];
const INVITE = { code: "4821-amber-otter", link: "ahoy+ws://192.168.1.20:24642/4821#amber-otter", reach: "localNetwork", insteadOf: null } as const;
const CHECKS: Check[] = [
  { code: "udp-blocked", severity: "warning", sentence: "This network blocks UDP. Ahoy is relayed over TLS through turn.example.org: expect about 30 ms more delay.", remedy: "Ask whoever runs the network to let UDP out, or use another one." },
  { code: "nat-symmetric", severity: "note", sentence: "The router gives every connection another address.", remedy: null },
  { code: "signaling-answers", severity: "fine", sentence: "The server answers within 85 ms.", remedy: null },
  { code: "has-microphone", severity: "fine", sentence: "There is a microphone.", remedy: null },
];
const NAMES = ["Jon", "Ines", "Adaeze", "Kenji", "Mateo", "Priya", "Lena", "Tomasz", "Yuki"];

export interface Fake {
  readonly calls: { command: string; args: unknown[] }[];
  send(message: UiMessage): void;
  view(change: Partial<CallView>): void;
  local(change: Partial<CallView["local"]>): void;
  event(event: CallEvent): void;
  end(reason: EndReason): void;
  level(rms: number, participants?: [number, number][]): void;
  join(count: number, change?: Partial<ParticipantView>): void;
  /** The connection to everybody: `uploadSlow.fair.360`, `good`, `unknown`, or one of each: `mixed`. */
  quality(text: string): void;
  /** Leaves out frames of every stream, as an overloaded app would. */
  skipFrames(count: number): void;
}

declare global {
  interface Window {
    ahoyFake?: Fake;
  }
}

function participant(id: number, change: Partial<ParticipantView> = {}): ParticipantView {
  return {
    id,
    name: NAMES[(id - 2) % NAMES.length] ?? "",
    microphoneMuted: false,
    cameraOn: true,
    microphoneUnplugged: false,
    states: { connection: "connected", iceConnection: "connected", iceGathering: "complete", signaling: "stable" },
    quality: { level: "good", cause: null, reducedTo: null },
    ...change,
  };
}

function devices(): Devices {
  const list = (prefix: string, labels: string[]) => labels.map((label, i) => ({ id: `${prefix}${i}`, label, isDefault: i === 0 }));
  return {
    cameras: list("/dev/video", ["Integrated camera", "Desk camera"]),
    microphones: list("mic", ["Built-in microphone", "Headset (Bluetooth)", "USB audio interface"]),
    speakers: list("out", ["Built-in speakers", "Headset (Bluetooth)"]),
  };
}

const SETTINGS: Settings = { ...DEFAULT_SETTINGS, name: "Mira", theme: "light" };

function recents(): RecentCall[] {
  const day = 86_400_000;
  const call = (code: string, names: string[], ago: number, minutes: number): RecentCall => ({
    id: code,
    code,
    link: "",
    server: null,
    names,
    startedAtMs: Date.now() - ago * day,
    durationMs: minutes * 60_000,
  });
  return [
    call("3390-quiet-heron", ["Jon"], 1, 24),
    call("1176-velvet-maple", ["Adaeze", "Ines", "Kenji"], 4, 62),
    call("8052-brisk-comet", ["Ines"], 9, 8),
    call("2207-warm-cedar", ["Kenji"], 12, 41),
  ];
}

function check(text: string): CodeCheck {
  const plain = text.trim().toLowerCase();
  const link = /^ahoy(\+ws)?:\/\/([^/]+)\/(\d+)#([a-z]+)-([a-z]+)$/.exec(plain);
  if (link) return { ok: true, normalized: `${link[3]}-${link[4]}-${link[5]}`, problem: null, hasServer: true };
  const bad = (kind: string, word: string | null = null, nearest: string | null = null): CodeCheck => ({
    ok: false,
    normalized: "",
    problem: { kind, word, nearest } as CodeCheck["problem"],
    hasServer: false,
  });
  const parts = plain.split(/[\s-]+/).filter(Boolean);
  if (parts.length === 0) return bad("empty");
  if (!/^\d+$/.test(parts[0] ?? "")) return bad("numberMissing");
  for (const word of parts.slice(1)) {
    if (!WORDS.includes(word)) return bad("unknownWord", word, WORDS.find((known) => known.startsWith(word.slice(0, 2)) || known.endsWith(word.slice(-3))) ?? null);
  }
  if (parts.length < 3) return bad("wordsMissing");
  return parts.length > 3 ? bad("tooManyWords") : { ok: true, normalized: parts.join("-"), problem: null, hasServer: false };
}

/** `uploadSlow.fair.360`: cause, level (fair) and lines (not reduced); `good` and `unknown` alone. */
function quality(text: string): QualityView {
  const [cause = "", level = "fair", lines] = text.split(".");
  if (cause === "good" || cause === "unknown") return { level: cause, cause: null, reducedTo: null };
  return { level: level as QualityView["level"], cause: cause as QualityView["cause"], reducedTo: lines === undefined ? null : Number(lines) };
}

/** One of each, for calls of many. */
const MIXED = ["uploadSlow.fair.360", "good", "theirUploadSlow.poor.180", "downloadLossy.poor", "delayLong", "computerBusy.fair.540", "unknown", "downloadFreezes", "uploadLossy"];

/** `scenario`: names joined by commas, see {@link apply}. */
export function createFake(scenario: string): Backend {
  let listener: (message: UiMessage) => void = () => undefined;
  let settings: Settings = { ...SETTINGS };
  let recentCalls = recents();
  let call: CallView = structuredClone(NO_CALL);
  const list = devices();
  const calls: Fake["calls"] = [];
  const streams = new Map<number, SceneStream>();
  let nextStream = 1;
  let levelTimer: ReturnType<typeof setInterval> | null = null;
  const state: AppState = {
    settings,
    recentCalls,
    notices: [],
    platform: { softwareRendering: true, themeDark: false },
    fullScreen: false,
    invite: null,
    version: "0.1.0",
  };
  call.local = {
    ...call.local,
    name: settings.name,
    microphone: { selection: "default", label: "Built-in microphone", format: "", problem: null, problemDetail: "", insteadOf: null },
    camera: { selection: "default", label: "Integrated camera", format: "1280x720@30", problem: null, problemDetail: "", insteadOf: null },
    speaker: { selection: "default", label: "Built-in speakers", format: "", problem: null, problemDetail: "", insteadOf: null },
  };

  const fake: Fake = {
    calls,
    send: (message) => listener(message),
    view(change) {
      call = { ...call, ...change };
      listener({ type: "view", view: call });
    },
    local(change) {
      fake.view({ local: { ...call.local, ...change } });
    },
    event: (event) => listener({ type: "event", event }),
    end(reason) {
      fake.view({ state: { name: "ended", reason }, participants: [], signaling: "disconnected" });
    },
    level: (rms, participants = []) => listener({ type: "levels", local: { rms, peak: Math.min(1, rms * 1.4) }, participants }),
    join(count, change) {
      fake.view({
        state: { name: "connected" },
        participant: 1,
        invite: INVITE,
        signaling: "joined",
        connectedForMs: call.connectedForMs ?? 1000,
        participants: Array.from({ length: count }, (_, i) => participant(i + 2, change)),
      });
    },
    quality(text) {
      const mixed = (i: number) => quality(MIXED[i % MIXED.length] ?? "good");
      fake.view({ participants: call.participants.map((one, i) => ({ ...one, quality: text === "mixed" ? mixed(i) : quality(text) })) });
    },
    skipFrames(count) {
      for (const stream of streams.values()) stream.skip = count;
    },
  };
  window.ahoyFake = fake;
  // What the script sets before the window watches becomes its first snapshot.
  for (const name of scenario.split(/[ ,+]/)) apply(name);

  function apply(name: string): void {
    const [key = "", value = ""] = name.split(":");
    switch (key) {
      case "dark":
        settings = state.settings = { ...settings, theme: "dark" };
        break;
      case "still":
        settings = state.settings = { ...settings, reduceMotion: true };
        break;
      case "first":
        settings = state.settings = { ...settings, name: "" };
        fake.local({ name: "" });
        recentCalls = state.recentCalls = [];
        break;
      case "camera":
      case "microphone":
      case "speaker": {
        const problem = value as NonNullable<CallView["local"]["camera"]["problem"]>;
        fake.local({ [key]: { ...call.local[key], label: null, format: "", problem, problemDetail: "the system's words" } });
        break;
      }
      case "starting":
        fake.local({ camera: { ...call.local.camera, label: null, format: "" } });
        break;
      case "cameraOff":
        fake.local({ cameraOn: false, camera: { ...call.local.camera, label: null, format: "" } });
        break;
      case "muted":
        fake.local({ microphoneMuted: true });
        break;
      case "hint":
        fake.local({ microphoneHint: value as "nothing-heard" });
        break;
      case "original":
        settings = state.settings = { ...settings, processing: { ...settings.processing, originalSound: true } };
        break;
      case "instead":
        settings = state.settings = { ...settings, microphone: "device:gone" };
        fake.local({ microphone: { ...call.local.microphone, selection: "device:gone", insteadOf: "Headset" } });
        break;
      case "unplugged":
        fake.view({ participants: call.participants.map((one) => ({ ...one, microphoneUnplugged: true })) });
        break;
      case "quality":
        fake.quality(value || "mixed");
        break;
      case "creating":
        fake.view({ state: { name: "joining" }, signaling: "connecting" });
        break;
      case "waiting":
        fake.view({
          state: { name: "waiting" },
          invite: value === "instead" ? { ...INVITE, insteadOf: "call.example.org" } : { ...INVITE, reach: (value || "localNetwork") as "server" },
          participant: 1,
          signaling: "joined",
        });
        break;
      case "connecting":
        fake.join(1, { cameraOn: true, states: { connection: "connecting", iceConnection: "checking", iceGathering: "gathering", signaling: "stable" } });
        fake.view({ state: { name: "connecting" }, connectedForMs: null });
        break;
      case "call":
        fake.join(Number(value || 1));
        fake.view({ connectedForMs: 724_000 });
        break;
      case "reconnecting":
        fake.join(1, { states: { connection: "disconnected", iceConnection: "disconnected", iceGathering: "complete", signaling: "stable" }, reconnecting: { trying: "newPath", attempt: 2 } });
        fake.view({ state: { name: "reconnecting" }, connectedForMs: 724_000 });
        break;
      case "lobby":
        state.invite = "ahoy://call.example.org/4821#amber-otter";
        break;
      case "notice":
        state.notices = [{ code: "settingsSetAside", file: "/home/mira/.config/ahoy/settings.broken-1.json" }];
        break;
    }
  }

  const note = (command: string, ...args: unknown[]) => void calls.push({ command, args });
  const saved = () => listener({ type: "settings", settings });

  function stats() {
    const t = performance.now() / 1000;
    // A dip now and then, so that plots have something to show. Counters only grow.
    const dip = Math.max(0, Math.sin(t / 9) - 0.8) * 5;
    const swell = 25_000 * Math.sin(t / 4);
    const lines = dip > 0.4 ? 360 : 720;
    const width = dip > 0.4 ? 640 : 1280;
    const frames = Math.round(t * 30);
    return {
      timestamp: Date.now(),
      participants: call.participants.map(({ id }) => ({
        id,
        "outbound-rtp:video": { bytesSent: Math.round(t * 240_000 + 4 * swell), packetsSent: Math.round(t * 220), framesEncoded: frames, framesPerSecond: 30 - 8 * dip, frameWidth: width, frameHeight: lines, keyFramesEncoded: 3, nackCount: 4, pliCount: 1, totalEncodeTime: t * 30 * 0.0062 + 0.04 * Math.sin(t / 3), targetBitrate: 2_000_000 },
        "outbound-rtp:audio": { bytesSent: Math.round(t * 4000), packetsSent: Math.round(t * 50) },
        "inbound-rtp:video": { bytesReceived: Math.round(t * 210_000 + swell), packetsReceived: Math.round(t * 200), packetsLost: Math.round(t * 0.6), framesReceived: frames, framesDecoded: frames, framesPerSecond: 29.6, frameWidth: 1280, frameHeight: 720, freezeCount: 0, nackCount: 6, pliCount: 1, jitterBufferDelay: t * 30 * 0.021 + 0.3 * Math.sin(t / 3), jitterBufferEmittedCount: frames },
        "inbound-rtp:audio": { bytesReceived: Math.round(t * 4100), packetsReceived: Math.round(t * 50), packetsLost: 1, concealedSamples: 960, concealmentEvents: 3, fecSamples: 1920, dredSamples: 480, insertedSamplesForDeceleration: 240, removedSamplesForAcceleration: 1440, totalAudioEnergy: t * 0.0004, totalSamplesDuration: t, jitterBufferTargetDelay: t * 48_000 * 0.03, totalSamplesReceived: Math.round(t * 48_000), jitterBufferDelay: t * 48_000 * 0.04, jitterBufferEmittedCount: Math.round(t * 48_000) },
        "remote-inbound-rtp:video": { fractionLost: 0.002 + 0.05 * dip, roundTripTime: 0.038, packetsLost: 3, jitter: 0.004 },
        "remote-inbound-rtp:audio": { fractionLost: 0, roundTripTime: 0.037, packetsLost: 0, jitter: 0.003 },
        pair: { currentRoundTripTime: 0.038 + 0.006 * Math.sin(t * 1.7) + 0.07 * dip, availableOutgoingBitrate: 2_900_000 - 1_200_000 * dip, localCandidateType: "host", remoteCandidateType: "host" },
      })),
    };
  }

  const backend = {
    appState: async () => structuredClone(state),
    async watch(to: (message: UiMessage) => void) {
      listener = to;
      to({ type: "view", view: call });
      let t = 0;
      levelTimer ??= setInterval(() => {
        t += 0.067;
        const loud = Math.max(0, Math.sin(t * 2.3)) * 0.12 + Math.abs(Math.sin(t * 13)) * 0.03;
        fake.level(call.local.microphone.label ? loud : 0, call.participants.map((p, i) => [p.id, i === 0 ? 0.08 : 0.001]));
      }, 67);
    },
    async newCall() {
      note("newCall");
      setTimeout(() => fake.view({ state: { name: "joining" }, connectedForMs: null, invite: null }), 20);
      setTimeout(() => fake.view({ state: { name: "waiting" }, invite: INVITE, participant: 1, signaling: "joined" }), 120);
    },
    async joinCall(text: string) {
      note("joinCall", text);
      const answer = check(text);
      if (!answer.ok) throw new BackendError("badCode", "this is no room code");
      setTimeout(() => fake.view({ state: { name: "joining" }, connectedForMs: null, invite: null }), 20);
      setTimeout(() => {
        if (text.includes("3390")) fake.end("unknownRoom");
        else if (text.includes("://silent.")) fake.end("serverUnreachable");
        else fake.join(1);
      }, 200);
    },
    async reopenCall(text: string) {
      note("reopenCall", text);
      await this.joinCall(text);
    },
    async renewCode() {
      note("renewCode");
      fake.view({ codeRetired: false });
    },
    async hangUp() {
      note("hangUp");
      fake.end("hungUp");
    },
    checkCode: async (text: string) => check(text),
    completeWord: async (prefix: string) => WORDS.filter((word) => word.startsWith(prefix.toLowerCase())),
    async setMicrophoneMuted(muted: boolean) {
      note("setMicrophoneMuted", muted);
      fake.local({ microphoneMuted: muted });
    },
    async setCameraOn(on: boolean) {
      note("setCameraOn", on);
      fake.local({ cameraOn: on, camera: { ...call.local.camera, label: on ? "Integrated camera" : null, format: on ? "1280x720@30" : "" } });
    },
    async selectCamera(selection: string) {
      note("selectCamera", selection);
      settings = { ...settings, camera: selection };
      saved();
    },
    async selectMicrophone(selection: string) {
      note("selectMicrophone", selection);
      settings = { ...settings, microphone: selection };
      saved();
    },
    async selectSpeaker(selection: string) {
      note("selectSpeaker", selection);
      settings = { ...settings, speaker: selection };
      saved();
    },
    async setProcessing(processing: Settings["processing"]) {
      note("setProcessing", processing);
      settings = { ...settings, processing };
      saved();
      fake.local({ processing });
    },
    async setVideoConstraints(constraints: Settings["constraints"]) {
      note("setVideoConstraints", constraints);
      settings = { ...settings, constraints };
      saved();
    },
    listDevices: async () => list,
    async examineConnection() {
      note("examineConnection");
      return CHECKS;
    },
    playTestSound: async () => note("playTestSound"),
    async saveSettings(next: Settings) {
      note("saveSettings", next);
      settings = next;
      saved();
    },
    async removeRecentCall(id: string) {
      note("removeRecentCall", id);
      recentCalls = recentCalls.filter((one) => one.id !== id);
      listener({ type: "recentCalls", recentCalls });
    },
    async restoreRecentCall(one: RecentCall) {
      note("restoreRecentCall", one);
      recentCalls = [one, ...recentCalls];
      listener({ type: "recentCalls", recentCalls });
    },
    copyText: async (text: string) => note("copyText", text),
    async stats() {
      note("stats");
      return stats();
    },
    async subscribeVideo(tile: VideoTile, frame: (bytes: Uint8Array<ArrayBuffer>) => void) {
      note("subscribeVideo", tile);
      const id = nextStream++;
      const scene = SCENES[tile.type === "local" ? 0 : (tile.id - 1) % SCENES.length] ?? SCENES[0];
      const paused = () => (tile.type === "local" ? !call.local.camera.label : false);
      if (scene) streams.set(id, new SceneStream(scene, settings.reduceMotion ? RATES.still : RATES.moving, (bytes) => !paused() && frame(bytes)));
      return { id };
    },
    acknowledgeVideo: (subscription: { id: number }, seq: number, givenUp: number) => note("acknowledgeVideo", subscription.id, seq, givenUp),
    requestKeyFrame(subscription: { id: number }) {
      note("requestKeyFrame", subscription.id);
      streams.get(subscription.id)?.requestKeyFrame();
    },
    unsubscribeVideo(subscription: { id: number }) {
      note("unsubscribeVideo", subscription.id);
      streams.get(subscription.id)?.close();
      streams.delete(subscription.id);
    },
    openRawVideo: async () => {
      throw new BackendError("videoFailed", "not in the browser");
    },
    async setFullscreen(on: boolean) {
      note("setFullscreen", on);
      listener({ type: "fullScreen", on });
    },
    closeWindow: async () => note("closeWindow"),
  };
  return backend as unknown as Backend;
}
