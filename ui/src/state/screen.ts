// Which screen shows: the call's state, and what the person has just asked for.

import type { CallState, CallView, EndReason } from "../bindings";
import type { LinkServer } from "./invite";
import { DEFAULT_PROCESSING } from "./settings";

export type Screen = "home" | "lobby" | "waiting" | "call" | "ended";

/** What was asked for last. `at` is when, in ms of the state's clock. */
export interface Intent {
  kind: "new" | "join";
  /** The code or link that was given. */
  text: string;
  /** The server that the link names, if it was a link. */
  server: LinkServer | null;
  at: number;
  /** The app has shown a state that follows from it. */
  begun: boolean;
}

/** An old end or idleness is not taken for the answer to a new request before this time. */
export const SETTLE_MS = 600;

export interface ScreenInput {
  state: CallState;
  connectedForMs: number | null;
  intent: Intent | null;
  lobby: boolean;
  endSeen: boolean;
  now: number;
}

export function screenOf(input: ScreenInput): Screen {
  const { state, intent } = input;
  const resting = state.name === "idle" || state.name === "ended";
  if (intent && !intent.begun && resting && input.now - intent.at < SETTLE_MS) return "waiting";
  switch (state.name) {
    case "joining":
    case "waiting":
      return "waiting";
    case "connecting":
    case "connected":
    case "reconnecting":
      return "call";
    case "ended":
      if (input.endSeen || !worthAScreen(state.reason, input.connectedForMs)) return rest(input);
      return "ended";
    case "idle":
      return rest(input);
  }
}

/** Ends before anybody was there are told where the request was made; the rest has a screen. */
export function worthAScreen(reason: EndReason, connectedForMs: number | null): boolean {
  if (connectedForMs !== null) return true;
  return reason === "connectionFailed" || reason === "everyoneLeft" || reason === "serverLost";
}

function rest(input: ScreenInput): Screen {
  return input.lobby ? "lobby" : "home";
}

/** A view before the app has answered. */
export const NO_CALL: CallView = {
  state: { name: "idle" },
  participant: null,
  invite: null,
  participants: [],
  local: {
    name: "",
    microphoneMuted: false,
    cameraOn: true,
    constraints: { resolution: { width: 1280, height: 720 }, frameRate: 30 },
    microphone: { selection: "default", label: null, format: "", problem: null, problemDetail: "", insteadOf: null },
    camera: { selection: "default", label: null, format: "", problem: null, problemDetail: "", insteadOf: null },
    speaker: { selection: "default", label: null, format: "", problem: null, problemDetail: "", insteadOf: null },
    processing: DEFAULT_PROCESSING,
    microphoneHint: null,
  },
  signaling: "disconnected",
  codeRetired: false,
  connectedForMs: null,
};
