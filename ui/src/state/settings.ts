// Settings without gaps: a member that an older file lacks has its default, here as in the app.

import type { IceServerSetting, ProcessingSettings, SelfView, Settings as Saved } from "../bindings";

export type SelfViewSettings = Required<SelfView>;
export type Processing = Required<ProcessingSettings>;
export type IceServer = Required<IceServerSetting>;
export type Settings = Required<Omit<Saved, "selfView" | "processing" | "iceServers">> & { iceServers: IceServer[]; selfView: SelfViewSettings; processing: Processing };

export const DEFAULT_PROCESSING: Processing = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  originalSound: false,
};

export const DEFAULT_SETTINGS: Settings = {
  version: 1,
  name: "",
  server: null,
  iceServers: [],
  alwaysRelay: false,
  camera: "default",
  microphone: "default",
  speaker: "default",
  constraints: { resolution: { width: 1280, height: 720 }, frameRate: 30 },
  processing: DEFAULT_PROCESSING,
  theme: "system",
  shareOnNetwork: true,
  mirrorSelfView: true,
  reduceMotion: false,
  singleKeyShortcuts: true,
  selfView: { corner: "bottomRight", size: "medium", hidden: false },
};

type Gappy = Partial<Omit<Saved, "selfView" | "processing" | "iceServers">> & { iceServers?: IceServerSetting[] } & { selfView?: Partial<SelfView>; processing?: Partial<ProcessingSettings> };

export function completed(saved: Gappy): Settings {
  return {
    ...DEFAULT_SETTINGS,
    ...saved,
    iceServers: (saved.iceServers ?? []).map((server) => ({ username: "", credential: "", ...server })),
    selfView: { ...DEFAULT_SETTINGS.selfView, ...saved.selfView },
    processing: { ...DEFAULT_PROCESSING, ...saved.processing },
  };
}
