import type { DeviceKind } from "../bindings";
import { m } from "../paraglide/messages.js";
import type { Choice } from "./devices";

/** The words of a menu entry. */
export function choiceLabel(kind: DeviceKind, choice: Choice): string {
  switch (choice.kind) {
    case "system":
      return choice.label ? m.choice_system_named({ label: choice.label }) : m.choice_system();
    case "device":
      return choice.label;
    case "missing":
      return m.choice_missing({ label: choice.label });
    case "file":
      return m.choice_file({ label: choice.label });
    case "test":
      return kind === "camera" ? m.choice_test_camera() : m.choice_test_microphone();
    case "none":
      if (kind === "camera") return m.choice_no_camera();
      return kind === "microphone" ? m.choice_no_microphone() : m.choice_no_speaker();
  }
}
