import { describe, expect, it } from "vitest";
import { NO_CALL } from "./screen";
import { choices, fileName, fileSelection } from "./devices";
import { FLAG_COLOURS, FLAG_SHAPES, flagOf } from "./flag";
import { gridBoxes } from "./grid";
import { isServerAddress, serverInLink } from "./invite";
import { meterFraction } from "./levels";
import { hasPicture, isMirrored, readiness, testSoundProblem } from "./readiness";
import { cornerByKey, cornerPoint, nearestCorner, selfViewSize } from "./selfView";
import { processingRows } from "./processing";
import { completed, DEFAULT_PROCESSING } from "./settings";
import { Speaking } from "./speaking";
import { resolveTheme } from "./theme";
import { parseFormat, sizeLabel } from "./video";

describe("gridBoxes", () => {
  const stages = [
    [1256, 712],
    [344, 594],
    [2400, 900],
    [640, 300],
  ] as const;
  it.each(stages)("fits every number of tiles into %d x %d without overlap, shaped 4:3 to 16:9", (width, height) => {
    for (let count = 2; count <= 10; count++) {
      const boxes = gridBoxes(count, width, height, 12);
      expect(boxes).toHaveLength(count);
      for (const [i, box] of boxes.entries()) {
        expect(box.x).toBeGreaterThanOrEqual(-0.01);
        expect(box.y).toBeGreaterThanOrEqual(-0.01);
        expect(box.x + box.width).toBeLessThanOrEqual(width + 0.01);
        expect(box.y + box.height).toBeLessThanOrEqual(height + 0.01);
        expect(box.width / box.height).toBeGreaterThan(4 / 3 - 0.01);
        expect(box.width / box.height).toBeLessThan(16 / 9 + 0.01);
        for (const other of boxes.slice(i + 1)) {
          const apart = other.x >= box.x + box.width - 0.01 || other.y >= box.y + box.height - 0.01;
          expect(apart).toBe(true);
        }
      }
    }
  });

  it("gives one tile the whole stage, and nothing to nobody", () => {
    expect(gridBoxes(1, 300, 500, 12)).toEqual([{ x: 0, y: 0, width: 300, height: 500 }]);
    expect(gridBoxes(0, 300, 500, 12)).toEqual([]);
    expect(gridBoxes(3, 0, 500, 12)).toEqual([]);
  });

  it("centres the last row", () => {
    const boxes = gridBoxes(5, 1256, 712, 12);
    const last = boxes.slice(3);
    const left = last[0]?.x ?? 0;
    const right = 1256 - ((last[1]?.x ?? 0) + (last[1]?.width ?? 0));
    expect(left).toBeCloseTo(right, 5);
    expect(left).toBeGreaterThan(100);
  });

  it("chooses the rows with the largest tiles", () => {
    const area = (boxes: ReturnType<typeof gridBoxes>) => (boxes[0]?.width ?? 0) * (boxes[0]?.height ?? 0);
    expect(gridBoxes(2, 1256, 712, 12)[1]?.y).toBeCloseTo(gridBoxes(2, 1256, 712, 12)[0]?.y ?? -1, 5);
    expect(gridBoxes(2, 344, 594, 12)[1]?.y).toBeGreaterThan(200);
    expect(area(gridBoxes(4, 1256, 712, 12))).toBeGreaterThan(area(gridBoxes(5, 1256, 712, 12)));
  });
});

describe("self-view", () => {
  const stage = { width: 1256, height: 712 };
  it("snaps to the nearest corner", () => {
    const box = selfViewSize("medium", stage);
    expect(box).toEqual({ width: 232, height: 131 });
    for (const corner of ["topLeft", "topRight", "bottomLeft", "bottomRight"] as const) {
      const { x, y } = cornerPoint(corner, stage, box);
      expect(nearestCorner(x + 30, y - 20, stage, box)).toBe(corner);
    }
  });

  it("moves by arrow keys and by no other", () => {
    expect(cornerByKey("bottomRight", "ArrowUp")).toBe("topRight");
    expect(cornerByKey("topRight", "ArrowLeft")).toBe("topLeft");
    expect(cornerByKey("topLeft", "ArrowUp")).toBe("topLeft");
    expect(cornerByKey("topLeft", "ArrowDown")).toBe("bottomLeft");
    expect(cornerByKey("bottomLeft", "ArrowRight")).toBe("bottomRight");
    expect(cornerByKey("bottomLeft", "Enter")).toBeNull();
  });

  it("never takes more than a third of a small stage", () => {
    const small = selfViewSize("large", { width: 344, height: 300 });
    expect(small.width).toBeLessThanOrEqual(344 / 3);
    const tall = selfViewSize("large", { width: 344, height: 594 });
    expect(tall.height).toBeGreaterThan(tall.width);
    expect(tall.height).toBeLessThanOrEqual(594 / 3);
  });
});

describe("flagOf", () => {
  it("is the same everywhere and does not care about case", () => {
    expect(flagOf("4821-amber-otter")).toEqual(flagOf("4821-AMBER-otter"));
  });

  it("uses every shape and every pair of colours", () => {
    const seen = Array.from({ length: 500 }, (_, i) => flagOf(`${1000 + i}-amber-otter`));
    expect(new Set(seen.map((flag) => flag.shape)).size).toBe(FLAG_SHAPES.length);
    expect(new Set(seen.map((flag) => flag.ground + flag.figure)).size).toBe(FLAG_COLOURS.length);
  });

  it("has figures that stand out from their ground by 3:1", () => {
    const luminance = (hex: string) => {
      const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
        const value = parseInt(hex.slice(at, at + 2), 16) / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const [ground, figure] of FLAG_COLOURS) {
      const [a, b] = [luminance(ground), luminance(figure)];
      expect((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), `${ground} ${figure}`).toBeGreaterThanOrEqual(3);
    }
  });
});

describe("devices", () => {
  const devices = {
    cameras: [{ id: "/dev/video0", label: "Integrated camera", isDefault: true }],
    microphones: [],
    speakers: [],
  };

  it("lists the system's choice, devices, the test source and none", () => {
    expect(choices("camera", devices, "default").map((choice) => choice.value)).toEqual([
      "default",
      "device:/dev/video0",
      "pattern",
      "none",
    ]);
    expect(choices("microphone", devices, "default").map((choice) => choice.value)).toEqual(["default", "tone", "none"]);
    expect(choices("speaker", devices, "default").map((choice) => choice.value)).toEqual(["default", "none"]);
  });

  it("keeps a chosen device or file in the list that is not among the devices", () => {
    expect(choices("camera", devices, "device:gone")[1]).toEqual({ value: "device:gone", kind: "missing", label: "gone" });
    expect(choices("camera", devices, "file:/a/b.y4m")).toContainEqual({ value: "file:/a/b.y4m", kind: "file", label: "b.y4m" });
  });

  it("takes paths as people paste them", () => {
    expect(fileSelection(' "/a b/c.wav" ')).toBe("file:/a b/c.wav");
    expect(fileSelection("file:///a%20b/c.wav")).toBe("file:/a b/c.wav");
    expect(fileSelection("file:///50%/c.wav")).toBe("file:/50%/c.wav");
    expect(fileSelection("  ")).toBeNull();
    expect(fileName("file:C:\\clips\\x.y4m")).toBe("x.y4m");
  });
});

describe("small things", () => {
  it("meters levels by decibels", () => {
    expect(meterFraction(0)).toBe(0);
    expect(meterFraction(NaN)).toBe(0);
    expect(meterFraction(1)).toBe(1);
    expect(meterFraction(2)).toBe(1);
    expect(meterFraction(0.0447)).toBeCloseTo(0.5, 2);
  });

  it("marks who speaks, through pauses, and forgets who left", () => {
    const speaking = new Speaking();
    expect(speaking.update([[2, 0.05], [3, 0.001]], 0)).toEqual([2]);
    const kept = speaking.update([[2, 0.001], [3, 0.001]], 300);
    expect(kept).toEqual([2]);
    expect(speaking.update([[2, 0.001], [3, 0.001]], 400)).toBe(kept);
    expect(speaking.update([[2, 0.001], [3, 0.03]], 1200)).toEqual([3]);
    expect(speaking.update([], 1210)).toEqual([]);
  });

  it("follows the system's theme only when told to", () => {
    expect(resolveTheme("system", true)).toBe("dark");
    expect(resolveTheme("system", false)).toBe("light");
    expect(resolveTheme("light", true)).toBe("light");
  });

  it("names picture sizes", () => {
    expect(sizeLabel({ resolution: { width: 1280, height: 720 }, frameRate: 30 })).toBe("720p");
    expect(sizeLabel({ resolution: { width: 800, height: 600 }, frameRate: 30 })).toBe("800 × 600");
    expect(parseFormat("1280x720@30")).toEqual({ width: 1280, height: 720, rate: 30 });
    expect(parseFormat("")).toBeNull();
  });

  it("reads servers", () => {
    expect(serverInLink("ahoy+ws://192.168.1.2:24642/4821#amber-otter")).toBe("192.168.1.2:24642");
    expect(serverInLink("Come here: AHOY://call.example.org/4821#amber-otter and bring Jon")).toBe("call.example.org");
    expect(serverInLink("4821-amber-otter")).toBeNull();
    for (const good of ["wss://call.example.org", "ws://127.0.0.1:24642", " wss://a.b/path "]) expect(isServerAddress(good), good).toBe(true);
    for (const bad of ["", "call.example.org", "https://a.b", "wss://", "wss://user@a.b"]) expect(isServerAddress(bad), bad).toBe(false);
  });

  it("fills gaps in saved settings with defaults", () => {
    const settings = completed({ name: "Mira", selfView: { hidden: true } });
    expect(settings).toMatchObject({ name: "Mira", theme: "system", singleKeyShortcuts: true });
    expect(settings.selfView).toEqual({ corner: "bottomRight", size: "medium", hidden: true });
  });
});

describe("readiness", () => {
  const settings = { camera: "default", microphone: "default" };
  const running = {
    ...NO_CALL.local,
    camera: { ...NO_CALL.local.camera, label: "Cam" },
    microphone: { ...NO_CALL.local.microphone, label: "Mic" },
  };

  it("claims to hear only what was heard", () => {
    expect(readiness(running, settings, true).text).toBe("You look fine and we can hear you.");
    expect(readiness(running, settings, false).text).toContain("Say something");
  });

  it("does not claim a picture without a camera", () => {
    const missing = { ...running, camera: { ...running.camera, label: null, problem: "notFound" as const } };
    expect(readiness(missing, settings, true)).toEqual({ text: "We can hear you. There is no picture from you.", picture: false });
    expect(readiness(running, { ...settings, camera: "none" }, true).picture).toBe(false);
  });

  it("has a sentence for every combination", () => {
    const seen = new Set<string>();
    for (const cameraOn of [true, false])
      for (const camera of [null, "busy" as const])
        for (const microphone of [null, "lost" as const])
          for (const microphoneMuted of [true, false])
            for (const heard of [true, false])
              for (const label of [null, "x"]) {
                const local = {
                  ...running,
                  cameraOn,
                  microphoneMuted,
                  camera: { ...running.camera, problem: camera, label: camera ? null : label },
                  microphone: { ...running.microphone, problem: microphone, label: microphone ? null : label },
                };
                const { text } = readiness(local, settings, heard);
                expect(text.length).toBeGreaterThan(10);
                seen.add(text);
              }
    expect(seen.size).toBeGreaterThanOrEqual(9);
  });
});

describe("our own side", () => {
  it("is mirrored from a camera only", () => {
    const mirrored = (camera: string, mirrorSelfView = true) => isMirrored({ camera, mirrorSelfView });
    for (const camera of ["default", "device:/dev/video0"]) expect(mirrored(camera), camera).toBe(true);
    for (const source of ["pattern", "file:/clips/a.y4m", "none"]) expect(mirrored(source), source).toBe(false);
    expect(mirrored("default", false)).toBe(false);
  });

  it("has a picture when a camera is chosen, on and without a problem", () => {
    const { camera } = NO_CALL.local;
    expect(hasPicture({ cameraOn: true, camera }, { camera: "pattern" })).toBe(true);
    expect(hasPicture({ cameraOn: false, camera }, { camera: "default" })).toBe(false);
    expect(hasPicture({ cameraOn: true, camera: { ...camera, problem: "busy" } }, { camera: "default" })).toBe(false);
    expect(hasPicture({ cameraOn: true, camera }, { camera: "none" })).toBe(false);
  });

  it("plays a sound only where there is a speaker, and says why not", () => {
    expect(testSoundProblem({ problem: null }, { speaker: "default" })).toBeNull();
    expect(testSoundProblem({ problem: "notFound" }, { speaker: "default" })).toBe("No speaker found");
    expect(testSoundProblem({ problem: null }, { speaker: "none" })).toBe("No speaker is chosen");
  });
});

describe("processingRows", () => {
  it("are as they are set", () => {
    const rows = processingRows({ ...DEFAULT_PROCESSING, autoGainControl: false });
    expect(rows.map(({ name, on, blocked }) => [name, on, blocked])).toEqual([
      ["echoCancellation", true, null],
      ["noiseSuppression", true, null],
      ["autoGainControl", false, null],
      ["originalSound", false, null],
    ]);
  });

  it("are off, with the reason, under original sound, which itself can be switched", () => {
    const rows = processingRows({ ...DEFAULT_PROCESSING, originalSound: true });
    expect(rows.map(({ on }) => on)).toEqual([false, false, false, true]);
    expect(rows.map(({ blocked }) => blocked !== null)).toEqual([true, true, true, false]);
  });

  it("have their usual settings where an older file has none", () => {
    expect(completed({}).processing).toEqual(DEFAULT_PROCESSING);
    expect(completed({ processing: { noiseSuppression: false } }).processing).toEqual({ ...DEFAULT_PROCESSING, noiseSuppression: false });
  });
});

describe("a chosen device that is missed", () => {
  it("is listed by its name where that is known", () => {
    const none = { cameras: [], microphones: [], speakers: [] };
    const label = (missed: string | null) => choices("microphone", none, "device:usb-1", missed).find(({ kind }) => kind === "missing")?.label;
    expect(label("Headset")).toBe("Headset");
    expect(label(null)).toBe("usb-1");
    expect(label("")).toBe("usb-1");
  });
});
