import { m } from "../paraglide/messages.js";
import type { RowName } from "./stats";

const LABELS: Record<RowName, () => string> = {
  roundTrip: m.stat_roundTrip,
  sent: m.stat_sent,
  received: m.stat_received,
  available: m.stat_available,
  lostHere: m.stat_lostHere,
  lostThere: m.stat_lostThere,
  pictureSent: m.stat_pictureSent,
  pictureReceived: m.stat_pictureReceived,
  soundSent: m.stat_soundSent,
  soundReceived: m.stat_soundReceived,
  concealed: m.stat_concealed,
  concealments: m.stat_concealments,
  recovered: m.stat_recovered,
  stretched: m.stat_stretched,
  loudness: m.stat_loudness,
  videoDelay: m.stat_videoDelay,
  audioDelay: m.stat_audioDelay,
  audioTarget: m.stat_audioTarget,
  freezes: m.stat_freezes,
  repairs: m.stat_repairs,
  keyFrames: m.stat_keyFrames,
  path: m.stat_path,
};

/** Words for a row of the statistics panel. */
export function statLabel(name: RowName): string {
  return LABELS[name]();
}
