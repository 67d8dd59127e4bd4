// Settings without gaps: a member that an older file lacks has its default, here as in the app.

import type { SelfView, Settings as Saved } from "../bindings";

export type SelfViewSettings = Required<SelfView>;
export type Settings = Required<Omit<Saved, "selfView">> & { selfView: SelfViewSettings };

export const DEFAULT_SETTINGS: Settings = {
  version: 1,
  name: "",
  server: null,
  camera: "default",
  microphone: "default",
  speaker: "default",
  constraints: { resolution: { width: 1280, height: 720 }, frameRate: 30 },
  theme: "system",
  shareOnNetwork: true,
  mirrorSelfView: true,
  reduceMotion: false,
  singleKeyShortcuts: true,
  selfView: { corner: "bottomRight", size: "medium", hidden: false },
};

export function completed(saved: Partial<Omit<Saved, "selfView">> & { selfView?: Partial<SelfView> }): Settings {
  return { ...DEFAULT_SETTINGS, ...saved, selfView: { ...DEFAULT_SETTINGS.selfView, ...saved.selfView } };
}
