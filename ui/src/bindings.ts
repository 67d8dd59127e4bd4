// Provisional: overwritten by the file that the Rust side generates.

import { Channel, invoke as __TAURI_INVOKE } from "@tauri-apps/api/core";

export const commands = {
  getAppState: () => __TAURI_INVOKE<AppState>("get_app_state"),
  watchCall: (channel: Channel<UiMessage>) => typedError<null, CommandError>(__TAURI_INVOKE("watch_call", { channel })),
  newCall: () => typedError<null, CommandError>(__TAURI_INVOKE("new_call")),
  joinCall: (text: string) => typedError<null, CommandError>(__TAURI_INVOKE("join_call", { text })),
  checkCode: (text: string) => __TAURI_INVOKE<CodeCheck>("check_code", { text }),
  completeWord: (prefix: string) => __TAURI_INVOKE<string[]>("complete_word", { prefix }),
  hangUp: () => typedError<null, CommandError>(__TAURI_INVOKE("hang_up")),
  setMicrophoneMuted: (muted: boolean) => typedError<null, CommandError>(__TAURI_INVOKE("set_microphone_muted", { muted })),
  setCameraOn: (on: boolean) => typedError<null, CommandError>(__TAURI_INVOKE("set_camera_on", { on })),
  selectCamera: (text: string) => typedError<null, CommandError>(__TAURI_INVOKE("select_camera", { text })),
  selectMicrophone: (text: string) => typedError<null, CommandError>(__TAURI_INVOKE("select_microphone", { text })),
  selectSpeaker: (text: string) => typedError<null, CommandError>(__TAURI_INVOKE("select_speaker", { text })),
  setVideoConstraints: (constraints: VideoConstraints) =>
    typedError<null, CommandError>(__TAURI_INVOKE("set_video_constraints", { constraints })),
  saveSettings: (settings: Settings) => typedError<null, CommandError>(__TAURI_INVOKE("save_settings", { settings })),
  listDevices: () => typedError<Devices, CommandError>(__TAURI_INVOKE("list_devices")),
  playTestSound: () => typedError<null, CommandError>(__TAURI_INVOKE("play_test_sound")),
  removeRecentCall: (id: string) => typedError<null, CommandError>(__TAURI_INVOKE("remove_recent_call", { id })),
  restoreRecentCall: (call: RecentCall) => typedError<null, CommandError>(__TAURI_INVOKE("restore_recent_call", { call })),
  copyText: (text: string) => typedError<null, CommandError>(__TAURI_INVOKE("copy_text", { text })),
  getStats: () => typedError<StatsReport, CommandError>(__TAURI_INVOKE("get_stats")),
  subscribeVideo: (tile: VideoTile, channel: Channel<number[]>) =>
    typedError<number, CommandError>(__TAURI_INVOKE("subscribe_video", { tile, channel })),
  acknowledgeVideo: (id: number, seq: number) => __TAURI_INVOKE<null>("acknowledge_video", { id, seq }),
  requestKeyFrame: (id: number) => __TAURI_INVOKE<null>("request_key_frame", { id }),
  unsubscribeVideo: (id: number) => __TAURI_INVOKE<null>("unsubscribe_video", { id }),
  setFullscreen: (on: boolean) => __TAURI_INVOKE<null>("set_fullscreen", { on }),
  closeWindow: () => __TAURI_INVOKE<null>("close_window"),
  openRawVideo: (tile: VideoTile) => typedError<RawVideo, CommandError>(__TAURI_INVOKE("open_raw_video", { tile })),
};

export type AppState = {
  settings: Settings;
  recentCalls: RecentCall[];
  notices: Notice[];
  platform: Platform;
  invite: string | null;
  version: string;
};
export type Platform = { softwareRendering: boolean; themeDark: boolean };
export type Notice = { code: string; message: string };
export type CommandError = { code: string; message: string };

export type UiMessage =
  | { type: "view"; view: CallView }
  | { type: "event"; event: CallEvent }
  | { type: "levels"; local: AudioLevel; participants: [number, number][] }
  | { type: "recentCalls"; recentCalls: RecentCall[] }
  | { type: "settings"; settings: Settings }
  | { type: "devices"; devices: Devices }
  | { type: "notice"; notice: Notice }
  | { type: "theme"; dark: boolean }
  | { type: "closeRequested" };

export type AudioLevel = { rms: number; peak: number };

export type CodeCheck = { ok: boolean; normalized: string; problem: CodeProblem | null; hasServer: boolean };
export type CodeProblem = { kind: string; word: string | null; nearest: string | null };

export type Settings = {
  version: number;
  name: string;
  server: string | null;
  camera: string;
  microphone: string;
  speaker: string;
  constraints: VideoConstraints;
  theme: Theme;
  shareOnNetwork: boolean;
  mirrorSelfView: boolean;
  reduceMotion: boolean;
  singleKeyShortcuts: boolean;
  selfView: SelfViewSettings;
};
export type Theme = "system" | "light" | "dark";
export type SelfViewSettings = { corner: Corner; size: SelfViewSize; hidden: boolean };
export type Corner = "topLeft" | "topRight" | "bottomLeft" | "bottomRight";
export type SelfViewSize = "small" | "medium" | "large";

export type RecentCall = {
  id: string;
  code: string;
  link: string;
  server: string | null;
  names: string[];
  startedAtMs: number;
  durationMs: number;
};

export type VideoTile = { type: "local" } | { type: "participant"; id: number };
export type RawVideo = { url: string; token: string };
export type Rtp = { [member: string]: number | string | null };
export type ParticipantStats = {
  id: number;
  "outbound-rtp:video": Rtp;
  "outbound-rtp:audio": Rtp;
  "inbound-rtp:video": Rtp;
  "inbound-rtp:audio": Rtp;
  "remote-inbound-rtp:video": Rtp;
  "remote-inbound-rtp:audio": Rtp;
  pair: Rtp;
};
export type StatsReport = { timestamp: number; participants: ParticipantStats[] };

export type CallState =
  | { name: "idle" }
  | { name: "joining" }
  | { name: "waiting" }
  | { name: "connecting" }
  | { name: "connected" }
  | { name: "reconnecting" }
  | { name: "ended"; reason: EndReason };
export type EndReason =
  | "hungUp"
  | "everyoneLeft"
  | "unknownRoom"
  | "roomFull"
  | "serverUnreachable"
  | "notAnAhoyServer"
  | "serverLost"
  | "serverRefused"
  | "connectionFailed";
export type Reach = "thisComputer" | "localNetwork" | "server";
export type InviteView = { code: string; link: string; reach: Reach };
export type ConnectionStates = { connection: string; iceConnection: string; iceGathering: string; signaling: string };
export type ParticipantView = {
  id: number;
  name: string;
  microphoneMuted: boolean;
  cameraOn: boolean;
  states: ConnectionStates;
};
export type DeviceProblem = "notFound" | "busy" | "denied" | "lost" | "unsupported" | "file" | "failed";
export type DeviceKind = "camera" | "microphone" | "speaker";
export type DeviceView = {
  selection: string;
  label: string | null;
  format: string;
  problem: DeviceProblem | null;
  problemDetail: string;
};
export type Resolution = { width: number; height: number };
export type VideoConstraints = { resolution: Resolution; frameRate: number };
export type LocalView = {
  name: string;
  microphoneMuted: boolean;
  cameraOn: boolean;
  constraints: VideoConstraints;
  microphone: DeviceView;
  camera: DeviceView;
  speaker: DeviceView;
};
export type SignalingLinkState = "disconnected" | "connecting" | "joined" | "lost";
export type CallView = {
  state: CallState;
  participant: number | null;
  invite: InviteView | null;
  participants: ParticipantView[];
  local: LocalView;
  signaling: SignalingLinkState;
  connectedForMs: number | null;
};
export type CallEvent =
  | { type: "participantJoined"; id: number }
  | { type: "participantLeft"; id: number; name: string }
  | { type: "deviceProblem"; kind: DeviceKind; problem: DeviceProblem; detail: string };
export type DeviceInfo = { id: string; label: string; isDefault: boolean };
export type Devices = { cameras: DeviceInfo[]; microphones: DeviceInfo[]; speakers: DeviceInfo[] };

async function typedError<T, E>(result: Promise<T>): Promise<{ status: "ok"; data: T } | { status: "error"; error: E }> {
  try {
    return { status: "ok", data: await result };
  } catch (e) {
    if (e instanceof Error) throw e;
    return { status: "error", error: e as E };
  }
}
