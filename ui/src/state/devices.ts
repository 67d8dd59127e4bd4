// Device menus: what can be chosen, and what is chosen now.

import type { DeviceInfo, DeviceKind, Devices } from "../bindings";

export interface Choice {
  /** As the settings file writes it. */
  value: string;
  kind: "system" | "device" | "test" | "file" | "missing" | "none";
  /** The device's own name, or the file's; empty where the words come from us. */
  label: string;
}

export const NO_DEVICES: Devices = { cameras: [], microphones: [], speakers: [] };

/** Choices in the order of the menu. A chosen device that is not there stays listed as missing, under
 * `missed`, its name, where that is known. */
export function choices(kind: DeviceKind, devices: Devices, selection: string, missed: string | null = null): Choice[] {
  const list = listOf(kind, devices);
  const result: Choice[] = [
    { value: "default", kind: "system", label: list.find((device) => device.isDefault)?.label ?? "" },
    ...list.map((device): Choice => ({ value: `device:${device.id}`, kind: "device", label: device.label })),
  ];
  if (kind === "camera") result.push({ value: "pattern", kind: "test", label: "" });
  if (kind === "microphone") result.push({ value: "tone", kind: "test", label: "" });
  if (selection.startsWith("file:")) result.push({ value: selection, kind: "file", label: fileName(selection) });
  if (selection.startsWith("device:") && !result.some((choice) => choice.value === selection)) {
    result.splice(1, 0, { value: selection, kind: "missing", label: missed || selection.slice("device:".length) });
  }
  result.push({ value: "none", kind: "none", label: "" });
  return result;
}

export function listOf(kind: DeviceKind, devices: Devices): DeviceInfo[] {
  switch (kind) {
    case "camera":
      return devices.cameras;
    case "microphone":
      return devices.microphones;
    case "speaker":
      return devices.speakers;
  }
}

/** Last part of a path in `file:PATH`. */
export function fileName(selection: string): string {
  const path = selection.replace(/^file:/, "");
  return path.split(/[\\/]/).pop() || path;
}

/** The kind of file a source reads. */
export function fileKind(kind: DeviceKind): "y4m" | "wav" {
  return kind === "camera" ? "y4m" : "wav";
}

/** `file:PATH` from what was typed or pasted: quotes and `file://` are what file managers add. */
export function fileSelection(typed: string): string | null {
  let path = typed.trim().replace(/^(["'])(.*)\1$/, "$2");
  if (path.startsWith("file://")) {
    try {
      path = decodeURIComponent(path.slice("file://".length));
    } catch {
      path = path.slice("file://".length);
    }
  }
  return path ? `file:${path}` : null;
}
