// What of our own side works, as far as it was measured.

import type { DeviceView, LocalView } from "../bindings";
import { m } from "../paraglide/messages.js";
import type { Settings } from "./settings";
import { deviceProblem } from "./words";

/** The camera is to give pictures, and nothing is known that keeps it from that. */
export function hasPicture(local: Pick<LocalView, "cameraOn" | "camera">, settings: Pick<Settings, "camera">): boolean {
  return local.cameraOn && local.camera.problem === null && settings.camera !== "none";
}

/** Whether we see ourselves as in a mirror: from a camera, as people are used to. What a file or the
 * test camera shows would be unreadable that way. */
export function isMirrored(settings: Pick<Settings, "camera" | "mirrorSelfView">): boolean {
  return settings.mirrorSelfView && (settings.camera === "default" || settings.camera.startsWith("device:"));
}

/** Why no sound can be played to try the speaker; `null` when it can. */
export function testSoundProblem(speaker: Pick<DeviceView, "problem">, settings: Pick<Settings, "speaker">): string | null {
  if (settings.speaker === "none") return m.no_speaker_chosen();
  return speaker.problem === null ? null : deviceProblem("speaker", speaker.problem).title;
}

export interface Readiness {
  text: string;
  /** Others will see us. */
  picture: boolean;
}

/** The sentence under the greeting. */
export function readiness(local: LocalView, settings: Pick<Settings, "camera" | "microphone">, heard: boolean): Readiness {
  const noCamera = settings.camera === "none" || local.camera.problem !== null;
  const picture = hasPicture(local, settings);
  const noMicrophone = settings.microphone === "none" || local.microphone.problem !== null;
  const starting = (picture && local.camera.label === null) || (!noMicrophone && local.microphone.label === null);
  return { text: sentence({ ...facts(local), noCamera, picture, noMicrophone, heard, starting }), picture: !noCamera };
}

interface Facts {
  muted: boolean;
  noCamera: boolean;
  picture: boolean;
  noMicrophone: boolean;
  heard: boolean;
  starting: boolean;
}

function facts(local: LocalView): { muted: boolean } {
  return { muted: local.microphoneMuted };
}

function sentence(f: Facts): string {
  if (f.picture) {
    if (f.starting) return m.ready_starting();
    if (f.noMicrophone) return m.ready_picture_no_microphone();
    if (f.muted) return m.ready_picture_muted();
    return f.heard ? m.ready_both() : m.ready_picture();
  }
  if (f.noMicrophone) return m.ready_nothing();
  if (f.starting) return m.ready_starting();
  if (f.muted) return m.ready_muted();
  if (f.heard) return f.noCamera ? m.ready_sound_no_camera() : m.ready_sound();
  return f.noCamera ? m.ready_quiet_no_camera() : m.ready_quiet();
}
