// The switches for what is done to our sound, in the words of settings and menu.

import { m } from "../paraglide/messages.js";
import type { Processing } from "./settings";

export interface ProcessingRow {
  name: keyof Processing;
  title: string;
  detail: string;
  /** It acts. */
  on: boolean;
  /** Why it cannot be switched now. */
  blocked: string | null;
}

/** Original sound comes last and keeps the others from acting: they are shown as off, and come back
 * as they were. */
export function processingRows(processing: Processing): ProcessingRow[] {
  const original = processing.originalSound;
  const stage = (name: keyof Processing, title: string, detail: string): ProcessingRow => ({
    name,
    title,
    detail,
    on: processing[name] && !original,
    blocked: original ? m.set_blocked_original() : null,
  });
  return [
    stage("echoCancellation", m.set_echo(), m.set_echo_detail()),
    stage("noiseSuppression", m.set_noise(), m.set_noise_detail()),
    stage("autoGainControl", m.set_gain(), m.set_gain_detail()),
    { name: "originalSound", title: m.set_original(), detail: m.set_original_detail(), on: original, blocked: null },
  ];
}
