// Keys. Single letters can be switched off (WCAG 2.1.4) and never act while somebody types.

export type Action =
  | "mute"
  | "camera"
  | "invite"
  | "stats"
  | "fullScreen"
  | "hangUp"
  | "newCall"
  | "joinCode"
  | "settings"
  | "shortcuts"
  | "doctor"
  | "copyCode";

/** What a key event is, without the DOM. */
export interface Key {
  key: string;
  ctrl: boolean;
  meta: boolean;
  alt: boolean;
  shift: boolean;
  repeat: boolean;
}

export interface KeyContext {
  /** The focus is in a text field or in a list that searches by letters. */
  typing: boolean;
  /** A menu or dialog is open. */
  overlay: boolean;
  inCall: boolean;
  waiting: boolean;
  singleKeys: boolean;
  mac: boolean;
  /** Something is selected that the platform's copy would take. */
  selection: boolean;
}

/** What focus is on when Space belongs to it: buttons are pressed by it, lists and fields take it, a
 * scrolling part scrolls. The stage, the self-view and the window itself do nothing with it. */
export const TAKES_SPACE =
  "button, a[href], input, select, textarea, summary, [contenteditable], [data-scrolls], " +
  ["button", "switch", "checkbox", "radio", "tab", "menuitem", "option", "combobox", "listbox", "menu"].map((role) => `[role=${role}]`).join(", ");

export interface TalkContext extends Pick<KeyContext, "typing" | "overlay" | "inCall" | "singleKeys"> {
  /** Focus is on something that Space acts on, see {@link TAKES_SPACE}. */
  takesSpace: boolean;
}

/** Whether this key press begins push-to-talk. A repeat does not: a held key begins once. */
export function talks(key: Key, context: TalkContext): boolean {
  if (!isSpace(key.key) || key.repeat || key.ctrl || key.meta || key.alt || key.shift) return false;
  return context.singleKeys && context.inCall && !context.typing && !context.overlay && !context.takesSpace;
}

export function isSpace(key: string): boolean {
  return key === " " || key === "Spacebar";
}

/** The action of a key press; `null` leaves the key to the page. */
export function actionOf(key: Key, context: KeyContext): Action | null {
  if (key.alt || key.repeat) return null;
  const command = context.mac ? key.meta && !key.ctrl : key.ctrl && !key.meta;
  return command ? withCommand(key, context) : single(key, context);
}

function withCommand(key: Key, context: KeyContext): Action | null {
  const letter = key.key.toLowerCase();
  if (key.shift) return letter === "h" && (context.inCall || context.waiting) ? "hangUp" : null;
  switch (letter) {
    case "n":
      return context.inCall || context.waiting || context.overlay ? null : "newCall";
    case "j":
      return context.inCall || context.waiting || context.overlay ? null : "joinCode";
    case ",":
      return "settings";
    case "c":
      return context.waiting && !context.typing && !context.overlay && !context.selection ? "copyCode" : null;
    default:
      return null;
  }
}

function single(key: Key, context: KeyContext): Action | null {
  if (!context.singleKeys || context.typing || context.overlay || key.ctrl || key.meta) return null;
  if (key.key === "?") return "shortcuts";
  switch (key.key.toLowerCase()) {
    case "m":
      return "mute";
    case "v":
      return "camera";
    case "d":
      return "doctor";
    case "i":
      return context.inCall ? "invite" : null;
    case "s":
      return context.inCall ? "stats" : null;
    case "f":
      return context.inCall ? "fullScreen" : null;
    default:
      return null;
  }
}
