// What the window knows and shows, as one value; {@link App} changes it.

import type { CallView, Devices, EndReason, Notice, Platform, RecentCall } from "../bindings";
import type { Announcement } from "./announcer";
import { NO_DEVICES } from "./devices";
import type { LinkServer } from "./invite";
import type { Note } from "./notes";
import { NO_CALL, type Intent, type Screen } from "./screen";
import { DEFAULT_SETTINGS, type Settings } from "./settings";

export type Dialog = "settings" | "shortcuts" | "doctor" | "invite" | "closing";
export type SettingsSection = "you" | "sound" | "picture" | "server" | "appearance" | "shortcuts" | "about";

/** Why the last request came to nothing, shown where it was made. */
export type CallProblem =
  | { kind: "ended"; reason: EndReason; server: LinkServer | null }
  | { kind: "refused"; code: string; message: string };

/** What is known about a call that is over. */
export interface EndedCall {
  reason: EndReason;
  durationMs: number | null;
  code: string | null;
  link: string | null;
  names: string[];
  /** A room is closed when the last one leaves it: then there is nothing to join again. */
  roomClosed: boolean;
}

export interface Model {
  phase: "loading" | "ready" | "failed";
  failure: string;
  screen: Screen;
  call: CallView;
  settings: Settings;
  recentCalls: readonly RecentCall[];
  devices: Devices;
  platform: Platform;
  version: string;
  systemDark: boolean;
  intent: Intent | null;
  problem: CallProblem | null;
  /** The code or link of the last try to join, empty after a new call. */
  lastJoin: string;
  /** The code or link that the lobby is about. */
  lobby: string | null;
  ended: EndedCall | null;
  dialog: Dialog | null;
  section: SettingsSection;
  statsOpen: boolean;
  fullScreen: boolean;
  /** Pictures are shown whole instead of filling their tile. */
  wholePictures: boolean;
  note: Note | null;
  /** What went wrong without stopping anything, until it is closed. */
  notices: readonly Notice[];
  announcement: Announcement;
  /** Participants who speak. */
  speaking: readonly number[];
  /** The microphone has picked something up lately. */
  heard: boolean;
  /** Push-to-talk is held. */
  talking: boolean;
  /** What was copied a moment ago. */
  copied: "code" | "link" | "report" | null;
  /** Waiting or connecting takes long. */
  slow: boolean;
  /** The camera is being looked for again. */
  asking: boolean;
}

/** Before the app has said anything. */
export function firstModel(systemDark: boolean): Model {
  return {
    phase: "loading",
    failure: "",
    screen: "home",
    call: NO_CALL,
    settings: DEFAULT_SETTINGS,
    recentCalls: [],
    devices: NO_DEVICES,
    platform: { softwareRendering: false, themeDark: systemDark },
    version: "",
    systemDark,
    intent: null,
    problem: null,
    lastJoin: "",
    lobby: null,
    ended: null,
    dialog: null,
    section: "you",
    statsOpen: false,
    fullScreen: false,
    wholePictures: false,
    note: null,
    notices: [],
    announcement: { polite: "", assertive: "" },
    speaking: [],
    heard: false,
    talking: false,
    copied: null,
    slow: false,
    asking: false,
  };
}

/** The call that has just ended as `call`; `before`: the snapshot before, `known`: names heard in it. */
export function endedCall(call: CallView, before: CallView, reason: EndReason, known: Iterable<string>): EndedCall {
  const invite = call.invite ?? before.invite;
  const names = [...known].filter((name) => name !== "");
  return {
    reason,
    durationMs: call.connectedForMs ?? before.connectedForMs,
    code: invite?.code ?? null,
    link: invite?.link ?? null,
    names: [...new Set(names)],
    // Whoever stays alone when we hang up is sent home as well.
    roomClosed: reason === "everyoneLeft" || (reason === "hungUp" && before.participants.length < 2),
  };
}
