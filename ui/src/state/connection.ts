// The connection in words: from the call's state and the W3C states, nothing guessed.

import type { CallView, ParticipantView } from "../bindings";
import { m } from "../paraglide/messages.js";
import { isInterrupted, nameOf } from "./person";
import { aboutPerson, allGood, qualityText, worstQuality } from "./quality";

export { isConnecting, isInterrupted, nameOf } from "./person";

export interface ConnectionText {
  tone: "good" | "pending" | "fair" | "poor" | "broken";
  title: string;
  detail: string;
  /** Of three; `null` while there is nothing measured to show. */
  bars: 1 | 2 | 3 | null;
}

export function connectionText(call: CallView): ConnectionText {
  const people = call.participants;
  const first = people[0];
  switch (call.state.name) {
    case "reconnecting":
      return { tone: "broken", title: m.state_reconnecting(), detail: first ? m.state_to({ name: nameOf(first) }) : "", bars: null };
    case "connected":
      return connectedText(call);
    default:
      return { tone: "pending", title: m.state_connecting(), detail: first ? m.state_to({ name: nameOf(first) }) : "", bars: null };
  }
}

function connectedText({ participants, signaling }: CallView): ConnectionText {
  const worst = worstQuality(participants);
  if (worst !== null) {
    const { level, bars, title, cause } = worst.text;
    const detail = participants.length === 1 ? cause : aboutPerson(nameOf(worst.participant), cause);
    return { tone: level, title, detail, bars };
  }
  if (signaling === "lost") return { tone: "pending", title: m.state_connected(), detail: m.state_server_lost(), bars: null };
  const good = allGood(participants);
  return { tone: "good", title: good ? m.quality_good() : m.state_connected(), detail: connectedDetail(participants), bars: good ? 3 : null };
}

function connectedDetail(participants: readonly ParticipantView[]): string {
  const first = participants[0];
  if (participants.length === 1 && first) return m.state_two({ name: nameOf(first) });
  return m.state_people({ count: participants.length + 1 });
}

/** What is tried while there is no path to somebody. */
export function reconnectText(participants: readonly ParticipantView[]): string {
  const recovery = participants.find((participant) => participant.reconnecting)?.reconnecting;
  switch (recovery?.trying) {
    case "waitingForNetwork":
      return m.reconnect_no_network();
    case "waitingForServer":
      return m.reconnect_no_server();
    case "newPath":
      return recovery.attempt > 1 ? m.reconnect_new_path_again({ attempt: recovery.attempt }) : m.reconnect_new_path();
    default:
      return m.reconnect_waiting();
  }
}

/** What the connection to somebody is busy with, for the stage. */
export function connectingStep(participant: ParticipantView): string {
  const { connection, iceConnection } = participant.states;
  if (connection === "connected") return m.step_media();
  if (iceConnection === "connected" || iceConnection === "completed") return m.step_encryption();
  if (iceConnection === "checking") return m.step_path({ name: nameOf(participant) });
  return m.step_signaling();
}

/** What a screen reader says about a picture. */
export function pictureLabel(participant: ParticipantView, speaking: boolean): string {
  const quality = qualityText(participant)?.level;
  const parts = [
    speaking ? m.picture_speaking() : null,
    participant.microphoneMuted ? m.picture_muted() : null,
    participant.microphoneUnplugged ? m.picture_unplugged() : null,
    participant.cameraOn ? m.picture_camera_on() : m.picture_camera_off(),
    isInterrupted(participant) ? m.picture_interrupted() : null,
    quality === "fair" ? m.picture_fair() : quality === "poor" ? m.picture_poor() : null,
  ];
  return m.picture_label({ name: nameOf(participant), details: parts.filter((part) => part !== null).join(", ") });
}
