// The connection in words: from the call's state and the W3C states, nothing guessed.

import type { CallView, ParticipantView } from "../bindings";
import { m } from "../paraglide/messages.js";

export interface ConnectionText {
  tone: "good" | "pending" | "broken";
  title: string;
  detail: string;
}

export function connectionText(call: CallView): ConnectionText {
  const names = call.participants;
  const first = names[0];
  switch (call.state.name) {
    case "reconnecting":
      return { tone: "broken", title: m.state_reconnecting(), detail: first ? m.state_to({ name: nameOf(first) }) : "" };
    case "connected":
      if (call.signaling === "lost") return { tone: "pending", title: m.state_connected(), detail: m.state_server_lost() };
      return { tone: "good", title: m.state_connected(), detail: connectedDetail(names) };
    default:
      return { tone: "pending", title: m.state_connecting(), detail: first ? m.state_to({ name: nameOf(first) }) : "" };
  }
}

function connectedDetail(participants: readonly ParticipantView[]): string {
  const first = participants[0];
  if (participants.length === 1 && first) return m.state_two({ name: nameOf(first) });
  return m.state_people({ count: participants.length + 1 });
}

/** The name they gave, or a word in its place. */
export function nameOf(participant: Pick<ParticipantView, "name">): string {
  return participant.name || m.somebody();
}

/** What the connection to somebody is busy with, for the stage. */
export function connectingStep(participant: ParticipantView): string {
  const { connection, iceConnection } = participant.states;
  if (connection === "connected") return m.step_media();
  if (iceConnection === "connected" || iceConnection === "completed") return m.step_encryption();
  if (iceConnection === "checking") return m.step_path({ name: nameOf(participant) });
  return m.step_signaling();
}

/** Whether the connection to one person among several is interrupted. */
export function isInterrupted(participant: ParticipantView): boolean {
  const { connection, iceConnection } = participant.states;
  return connection === "disconnected" || connection === "failed" || iceConnection === "disconnected" || iceConnection === "failed";
}

export function isConnecting(participant: ParticipantView): boolean {
  return participant.states.connection === "new" || participant.states.connection === "connecting" || participant.states.connection === "";
}

/** What a screen reader says about a picture. */
export function pictureLabel(participant: ParticipantView, speaking: boolean): string {
  const parts = [
    speaking ? m.picture_speaking() : null,
    participant.microphoneMuted ? m.picture_muted() : null,
    participant.microphoneUnplugged ? m.picture_unplugged() : null,
    participant.cameraOn ? m.picture_camera_on() : m.picture_camera_off(),
    isInterrupted(participant) ? m.picture_interrupted() : null,
  ];
  return m.picture_label({ name: nameOf(participant), details: parts.filter((part) => part !== null).join(", ") });
}
