// How good the connection to somebody is, in words. What is measured, and for how long it has to
// hold, is the app's; here is only what is said about it, and when it is said aloud.

import type { ParticipantView, QualityCause, QualityView } from "../bindings";
import { m } from "../paraglide/messages.js";
import { isConnecting, isInterrupted, nameOf } from "./person";

export interface QualityText {
  level: "fair" | "poor";
  /** Of three. */
  bars: 1 | 2;
  /** `Fair connection`. */
  title: string;
  /** The cause in a sentence without its full stop; empty when the app names none. */
  cause: string;
}

/** What there is to say; `null` where nothing is to be noticed, or where the state of the
 * connection says it already. */
export function qualityText(participant: ParticipantView): QualityText | null {
  const { level, cause } = participant.quality;
  if (level !== "fair" && level !== "poor") return null;
  if (cause === "interrupted" || isConnecting(participant) || isInterrupted(participant)) return null;
  return {
    level,
    bars: level === "fair" ? 2 : 1,
    title: level === "fair" ? m.quality_fair() : m.quality_poor(),
    cause: cause === null ? "" : causeText(cause, nameOf(participant), participant.quality),
  };
}

/** Title and cause as one text. */
export function qualitySentence({ title, cause }: QualityText): string {
  return cause === "" ? `${title}.` : `${title}. ${cause}.`;
}

/** The same with the name of whom it is about, unless it has it already. */
export function aboutPerson(name: string, text: string): string {
  return text === "" || text.includes(name) ? text : m.quality_about({ name, text });
}

/** The worst of several, the first one among equals. */
export function worstQuality(participants: readonly ParticipantView[]): { participant: ParticipantView; text: QualityText } | null {
  let worst: { participant: ParticipantView; text: QualityText } | null = null;
  for (const participant of participants) {
    const text = qualityText(participant);
    if (text !== null && (worst === null || text.bars < worst.text.bars)) worst = { participant, text };
  }
  return worst;
}

/** Known to be good, with everybody. */
export function allGood(participants: readonly ParticipantView[]): boolean {
  return participants.length > 0 && participants.every(({ quality }) => quality.level === "good");
}

function causeText(cause: Exclude<QualityCause, "interrupted">, name: string, { reducedTo: lines }: QualityView): string {
  switch (cause) {
    case "uploadSlow":
      return lines === null ? m.quality_upload_slow() : m.quality_upload_slow_reduced({ lines });
    case "uploadLossy":
      return m.quality_upload_lossy();
    case "downloadLossy":
      return m.quality_download_lossy({ name });
    case "downloadFreezes":
      return m.quality_download_freezes({ name });
    case "delayLong":
      return m.quality_delay_long({ name });
    case "computerBusy":
      return lines === null ? m.quality_computer_busy() : m.quality_computer_busy_reduced({ lines });
    case "theirUploadSlow":
      return lines === null ? m.quality_their_upload_slow({ name }) : m.quality_their_upload_slow_reduced({ name, lines });
    case "theirComputerBusy":
      return lines === null ? m.quality_their_computer_busy({ name }) : m.quality_their_computer_busy_reduced({ name, lines });
  }
}

/** What a screen reader is told: every change of level or cause once. Another picture size under
 * the same cause is shown and not said. */
export class QualityNews {
  /** Level and cause that were said last, by participant. */
  #told = new Map<number, string>();

  /** Sentences that are new. */
  update(participants: readonly ParticipantView[]): string[] {
    const told = new Map<number, string>();
    const news: string[] = [];
    for (const participant of participants) {
      const text = qualityText(participant);
      const before = this.#told.get(participant.id);
      const name = nameOf(participant);
      if (text !== null) {
        const key = `${text.level} ${participant.quality.cause ?? ""}`;
        told.set(participant.id, key);
        if (key !== before) news.push(aboutPerson(name, qualitySentence(text)));
      } else if (before !== undefined && participant.quality.level === "good") {
        // After an interruption "Connected" is said instead.
        news.push(m.quality_again({ name }));
      }
    }
    this.#told = told;
    return news;
  }
}
