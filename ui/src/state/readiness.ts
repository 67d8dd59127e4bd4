// The sentence under the greeting: what works, as far as it was measured.

import type { LocalView } from "../bindings";
import { m } from "../paraglide/messages.js";
import type { Settings } from "./settings";

export interface Readiness {
  text: string;
  /** Others will see us. */
  picture: boolean;
}

export function readiness(local: LocalView, settings: Pick<Settings, "camera" | "microphone">, heard: boolean): Readiness {
  const noCamera = settings.camera === "none" || local.camera.problem !== null;
  const picture = local.cameraOn && !noCamera;
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
