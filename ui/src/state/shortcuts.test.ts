import { describe, expect, it } from "vitest";
import { actionOf, talks, type Key, type KeyContext } from "./shortcuts";

const key = (name: string, more: Partial<Key> = {}): Key => ({ key: name, ctrl: false, meta: false, alt: false, shift: false, repeat: false, ...more });
const context = (more: Partial<KeyContext> = {}): KeyContext => ({
  typing: false,
  overlay: false,
  inCall: true,
  waiting: false,
  singleKeys: true,
  mac: false,
  selection: false,
  ...more,
});
const ctrl = (name: string, more: Partial<Key> = {}) => key(name, { ctrl: true, ...more });

describe("actionOf", () => {
  it.each([
    ["m", "mute"],
    ["M", "mute"],
    ["v", "camera"],
    ["i", "invite"],
    ["s", "stats"],
    ["f", "fullScreen"],
    ["d", "doctor"],
    ["?", "shortcuts"],
  ] as const)("%s in a call", (name, action) => {
    expect(actionOf(key(name), context())).toBe(action);
    expect(actionOf(key(name), context({ typing: true }))).toBeNull();
    expect(actionOf(key(name), context({ overlay: true }))).toBeNull();
    expect(actionOf(key(name), context({ singleKeys: false }))).toBeNull();
    expect(actionOf(key(name, { alt: true }), context())).toBeNull();
    expect(actionOf(key(name, { repeat: true }), context())).toBeNull();
    expect(actionOf(ctrl(name), context())).toBeNull();
  });

  it("mutes at home as well, but has no panel there", () => {
    const home = context({ inCall: false });
    expect(actionOf(key("m"), home)).toBe("mute");
    expect(actionOf(key("d"), home)).toBe("doctor");
    expect(actionOf(key("s"), home)).toBeNull();
    expect(actionOf(key("i"), home)).toBeNull();
    expect(actionOf(key("f"), home)).toBeNull();
  });

  it("hangs up from anywhere in a call, also while typing", () => {
    const hangUp = ctrl("H", { shift: true });
    expect(actionOf(hangUp, context({ typing: true, singleKeys: false }))).toBe("hangUp");
    expect(actionOf(hangUp, context({ inCall: false, waiting: true }))).toBe("hangUp");
    expect(actionOf(hangUp, context({ inCall: false }))).toBeNull();
    expect(actionOf(ctrl("h"), context())).toBeNull();
  });

  it("begins calls only where there is none", () => {
    expect(actionOf(ctrl("n"), context({ inCall: false }))).toBe("newCall");
    expect(actionOf(ctrl("j"), context({ inCall: false, typing: true }))).toBe("joinCode");
    expect(actionOf(ctrl("n"), context())).toBeNull();
    expect(actionOf(ctrl("n"), context({ inCall: false, overlay: true }))).toBeNull();
    expect(actionOf(ctrl(","), context())).toBe("settings");
  });

  it("copies the code while waiting, unless something else would be copied", () => {
    const waiting = context({ inCall: false, waiting: true });
    expect(actionOf(ctrl("c"), waiting)).toBe("copyCode");
    expect(actionOf(ctrl("c"), { ...waiting, selection: true })).toBeNull();
    expect(actionOf(ctrl("c"), { ...waiting, typing: true })).toBeNull();
    expect(actionOf(ctrl("c"), context())).toBeNull();
  });

  it("uses the command key on a Mac", () => {
    const mac = context({ inCall: false, mac: true });
    expect(actionOf(key("n", { meta: true }), mac)).toBe("newCall");
    expect(actionOf(ctrl("n"), mac)).toBeNull();
  });
});

describe("talks", () => {
  const where = (more: Partial<Parameters<typeof talks>[1]> = {}) => ({ typing: false, overlay: false, inCall: true, singleKeys: true, takesSpace: false, ...more });

  it("with Space alone, once for each press", () => {
    expect(talks(key(" "), where())).toBe(true);
    expect(talks(key(" ", { repeat: true }), where())).toBe(false);
    for (const held of ["ctrl", "meta", "alt", "shift"] as const) expect(talks(key(" ", { [held]: true }), where())).toBe(false);
    expect(talks(key("m"), where())).toBe(false);
  });

  it("only in a call, with single keys, and where Space is not somebody else’s", () => {
    for (const not of [{ inCall: false }, { singleKeys: false }, { typing: true }, { overlay: true }, { takesSpace: true }]) {
      expect(talks(key(" "), where(not))).toBe(false);
    }
  });
});
