// The one way from the window to the app. Views and state know this interface only; what stands
// behind it is Tauri in the app (backend/tauri.ts) and a scripted double in browser tests
// (fake/fake.ts, absent from production builds).

import type {
  AppState,
  Check,
  CodeCheck,
  Devices,
  ProcessingSettings,
  RecentCall,
  Settings,
  StatsReport,
  UiMessage,
  VideoAddress,
  VideoConstraints,
  VideoTile,
} from "./bindings";

/** A command that the app refused. `code` is stable, `message` is the app's own wording. */
export class BackendError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "BackendError";
    this.code = code;
  }
}

/** Encoded pictures of one tile, as sent by the app (see video/header.ts for the bytes). */
export interface VideoSubscription {
  readonly id: number;
}

/** Every method rejects with {@link BackendError} when the app refuses. */
export interface Backend {
  appState(): Promise<AppState>;
  /** Snapshots and moments from now on; the first snapshot follows at once. */
  watch(listener: (message: UiMessage) => void): Promise<void>;

  newCall(): Promise<void>;
  /** `text` is a room code or an invite link, as typed. */
  joinCall(text: string): Promise<void>;
  /** The same for a former call, whose room is opened again where nobody is in it. */
  reopenCall(text: string): Promise<void>;
  hangUp(): Promise<void>;
  renewCode(): Promise<void>;
  checkCode(text: string): Promise<CodeCheck>;
  /** Words of the list that begin like this. */
  completeWord(prefix: string): Promise<string[]>;

  setMicrophoneMuted(muted: boolean): Promise<void>;
  setCameraOn(on: boolean): Promise<void>;
  /** Selections are written as in the settings file: `default`, `device:ID`, `file:PATH`, `none`, … */
  selectCamera(selection: string): Promise<void>;
  selectMicrophone(selection: string): Promise<void>;
  selectSpeaker(selection: string): Promise<void>;
  setVideoConstraints(constraints: VideoConstraints): Promise<void>;
  /** Takes effect within the call and is remembered. */
  setProcessing(processing: ProcessingSettings): Promise<void>;
  listDevices(): Promise<Devices>;
  /** Looks at server, network and devices: takes seconds. The worst finding comes first. */
  examineConnection(): Promise<Check[]>;
  playTestSound(): Promise<void>;

  saveSettings(settings: Settings): Promise<void>;
  removeRecentCall(id: RecentCall["id"]): Promise<void>;
  restoreRecentCall(call: RecentCall): Promise<void>;
  copyText(text: string): Promise<void>;
  stats(): Promise<StatsReport>;

  subscribeVideo(tile: VideoTile, frame: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<VideoSubscription>;
  /** The last frame that was taken, and how many were given up since the word before. */
  acknowledgeVideo(subscription: VideoSubscription, seq: number, givenUp: number): void;
  requestKeyFrame(subscription: VideoSubscription): void;
  unsubscribeVideo(subscription: VideoSubscription): void;
  /** Decoded pictures over a loopback WebSocket, for webviews without a VP8 decoder. */
  openRawVideo(tile: VideoTile): Promise<VideoAddress>;

  setFullscreen(on: boolean): Promise<void>;
  /** Closes the window without asking again. */
  closeWindow(): Promise<void>;
}
