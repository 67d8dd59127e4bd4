// One other person and the connection to them.

import type { ParticipantView } from "../bindings";
import { m } from "../paraglide/messages.js";

/** The name they gave, or a word in its place. */
export function nameOf(participant: Pick<ParticipantView, "name">): string {
  return participant.name || m.somebody();
}

/** Whether the connection to one person among several is interrupted. */
export function isInterrupted(participant: ParticipantView): boolean {
  const { connection, iceConnection } = participant.states;
  return connection === "disconnected" || connection === "failed" || iceConnection === "disconnected" || iceConnection === "failed";
}

export function isConnecting(participant: ParticipantView): boolean {
  return participant.states.connection === "new" || participant.states.connection === "connecting" || participant.states.connection === "";
}
