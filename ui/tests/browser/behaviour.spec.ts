// What people do with the window, by pointer and by keyboard, and what the pictures do meanwhile.

import type { Page } from "playwright-core";
import { describe, it } from "vitest";
import { expect, open, useBrowser } from "./window";

useBrowser();

const commands = (page: Page, command: string) => page.evaluate((name) => window.ahoyFake?.calls.filter((one) => one.command === name).map((one) => one.args) ?? [], command);
const focused = (page: Page) => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset["testid"] ?? document.activeElement?.tagName ?? "");
const frames = async (page: Page, testid: string) => Number((await page.getByTestId(testid).getAttribute("data-frames")) ?? 0);

async function until(what: string, check: () => Promise<boolean>, ms = 8000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What `look` sees once nothing moves any more: the self-view glides to its place. */
async function atRest<T>(look: () => Promise<T>): Promise<T> {
  let seen = await look();
  await until("nothing moves", async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = seen;
    seen = await look();
    return JSON.stringify(seen) === JSON.stringify(before);
  });
  return seen;
}

describe("pictures", () => {
  it("move: frames are decoded, drawn, counted and acknowledged", async () => {
    const { page } = await open("call");
    await until("both pictures", async () => (await frames(page, "remote-picture-2-canvas")) > 5 && (await frames(page, "self-view-canvas")) > 5);
    expect(await page.getByTestId("remote-picture-2-canvas").getAttribute("data-picture")).toBe("640x360");
    const acknowledged = await commands(page, "acknowledgeVideo");
    expect(acknowledged.length).toBeGreaterThan(2);
    const pixels = () => page.getByTestId("remote-picture-2-canvas").evaluate((canvas) => {
      const data = (canvas as HTMLCanvasElement).getContext("2d")?.getImageData(0, 0, 600, 600).data ?? new Uint8ClampedArray();
      return data.reduce((sum, value, i) => (sum + value * ((i % 97) + 1)) % 1_000_003, 0);
    });
    const before = await pixels();
    await until("another picture", async () => (await pixels()) !== before);
  });

  it("recover after a gap with a key frame", async () => {
    const { page } = await open("call");
    await until("a picture", async () => (await frames(page, "remote-picture-2-canvas")) > 3);
    const before = (await commands(page, "requestKeyFrame")).length;
    await page.evaluate(() => window.ahoyFake?.skipFrames(3));
    await until("a request", async () => (await commands(page, "requestKeyFrame")).length > before);
    const drawn = await frames(page, "remote-picture-2-canvas");
    await until("pictures again", async () => (await frames(page, "remote-picture-2-canvas")) > drawn + 3);
  });

  it("are not subscribed to while the window is hidden", async () => {
    const { page } = await open("call");
    await until("a picture", async () => (await frames(page, "remote-picture-2-canvas")) > 3);
    const hide = (hidden: boolean) =>
      page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await hide(true);
    expect(await commands(page, "unsubscribeVideo")).toHaveLength(2);
    await page.waitForTimeout(1200);
    const drawn = await frames(page, "remote-picture-2-canvas");
    await page.waitForTimeout(1200);
    expect(await frames(page, "remote-picture-2-canvas")).toBe(drawn);
    await hide(false);
    expect(await commands(page, "subscribeVideo")).toHaveLength(4);
    await until("pictures again", async () => (await frames(page, "remote-picture-2-canvas")) > drawn);
  });

  it("keep their place and subscription when somebody joins", async () => {
    const { page } = await open("call");
    await until("a picture", async () => (await frames(page, "remote-picture-2-canvas")) > 3);
    await page.evaluate(() => window.ahoyFake?.join(2));
    await page.getByTestId("remote-picture-3").waitFor();
    expect(await commands(page, "subscribeVideo")).toHaveLength(3);
    expect(await commands(page, "unsubscribeVideo")).toHaveLength(0);
    expect(await page.getByTestId("self-view-box").getAttribute("data-corner")).toBe("grid");
  });

  it("give way to the initial when a camera goes off, and nothing old comes back", async () => {
    const { page } = await open("call");
    const picture = page.getByTestId("remote-picture-2");
    await until("a picture", async () => (await picture.getAttribute("data-showing")) === "true");
    await page.evaluate(() => window.ahoyFake?.join(1, { cameraOn: false }));
    await until("the initial", async () => (await picture.getAttribute("data-showing")) === "false");
    expect(await picture.textContent()).toContain("J");
    expect(await picture.getAttribute("aria-label")).toContain("camera off");
  });

  it("have a canvas of the tile's size once the window has settled", async () => {
    const { page } = await open("call");
    const canvas = page.getByTestId("remote-picture-2-canvas");
    await until("a picture", async () => (await frames(page, "remote-picture-2-canvas")) > 2);
    await page.setViewportSize({ width: 900, height: 700 });
    await until("the new size", () => canvas.evaluate((one) => Math.abs((one as HTMLCanvasElement).width - one.clientWidth) <= 1 && one.clientWidth < 900));
  });
});

describe("our own picture before a call", () => {
  it("goes on from home to waiting and back", async () => {
    const { page } = await open("home");
    const picture = page.getByTestId("self-view");
    const showing = async () => (await picture.getAttribute("data-showing")) === "true";
    await until("a picture", showing);
    await page.evaluate(() => {
      const element = document.querySelector("[data-testid=self-view]");
      new MutationObserver((changes) => {
        if (changes.some((one) => (one.target as HTMLElement).dataset["showing"] === "false")) document.body.dataset["interrupted"] = "yes";
      }).observe(element as Element, { attributeFilter: ["data-showing"] });
    });
    const canvas = await page.getByTestId("self-view-canvas").elementHandle();
    await page.getByTestId("new-call").click();
    await page.getByTestId("waiting").waitFor();
    await until("the code", async () => (await page.getByTestId("code-display").getAttribute("data-code")) === "4821-amber-otter");
    const drawn = await frames(page, "self-view-canvas");
    await until("more pictures", async () => (await frames(page, "self-view-canvas")) > drawn);
    await page.getByTestId("hang-up").click();
    await page.getByTestId("home").waitFor();
    expect(await showing()).toBe(true);
    expect(await page.evaluate((one) => one === document.querySelector("[data-testid=self-view-canvas]"), canvas)).toBe(true);
    expect(await page.evaluate(() => document.body.dataset["interrupted"])).toBeUndefined();
    expect(await commands(page, "subscribeVideo")).toHaveLength(1);
    expect(await commands(page, "unsubscribeVideo")).toHaveLength(0);
  });

  it("begins each screen at its top", async () => {
    const { page } = await open("home", { width: 360, height: 480 });
    await page.getByTestId("new-call").scrollIntoViewIfNeeded();
    await page.getByTestId("new-call").click();
    const waiting = page.getByTestId("waiting");
    await waiting.waitFor();
    expect(await waiting.evaluate((one) => one.scrollTop)).toBe(0);
  });

  it("is as in a mirror from a camera only", async () => {
    const { page } = await open("home");
    await until("a picture", async () => (await page.getByTestId("self-view").getAttribute("data-showing")) === "true");
    /** Where the window in the wall is, at the right in the picture as it is sent. */
    const side = () =>
      page.getByTestId("self-view-canvas").evaluate((one) => {
        const canvas = one as HTMLCanvasElement;
        const light = (x: number) => {
          const data = canvas.getContext("2d")?.getImageData(canvas.width * x, canvas.height * 0.3, 8, 8).data ?? new Uint8ClampedArray();
          return data.reduce((sum, value) => sum + value, 0);
        };
        return light(0.2) > light(0.8) ? "left" : "right";
      });
    await until("a mirror", async () => (await side()) === "left");
    for (const [choice, expected] of [["Test camera", "right"], ["Desk camera", "left"]] as const) {
      await page.getByTestId("choose-camera").click();
      await page.getByRole("option", { name: choice }).click();
      await until(`${choice} ${expected}`, async () => (await side()) === expected);
    }
  });
});

describe("a call from beginning to end", () => {
  it("by pointer", async () => {
    const { page } = await open("home");
    await page.getByTestId("new-call").click();
    await page.getByTestId("waiting").waitFor();
    await until("the code", async () => (await page.getByTestId("code-display").getAttribute("data-code")) === "4821-amber-otter");
    expect(await focused(page)).toBe("copy-code");
    await page.getByTestId("copy-code").click();
    expect(await commands(page, "copyText")).toEqual([["4821-amber-otter"]]);
    expect(await page.getByTestId("copy-code").getAttribute("data-copied")).toBe("true");
    await until("no longer copied", async () => (await page.getByTestId("copy-code").getAttribute("data-copied")) === "false");
    expect(await page.getByTestId("reach").textContent()).toContain("Works on this network. To call across the internet, set a server.");
    await page.evaluate(() => window.ahoyFake?.join(1));
    await page.getByTestId("call").waitFor();
    expect(await page.getByTestId("connection-state").textContent()).toContain("Good connection");
    await page.getByTestId("mute").click();
    expect(await page.getByTestId("mute").getAttribute("aria-pressed")).toBe("true");
    expect(await page.getByTestId("mute").textContent()).toContain("Muted");
    await page.getByTestId("camera").click();
    expect(await commands(page, "setCameraOn")).toEqual([[false]]);
    await page.getByTestId("hang-up").click();
    await page.getByTestId("ended").waitFor();
    await page.getByTestId("go-home").click();
    await page.getByTestId("home").waitFor();
  });

  it("leads into a new call when the room is closed", async () => {
    const { page } = await open("call");
    await page.evaluate(() => window.ahoyFake?.end("everyoneLeft"));
    await page.getByTestId("ended").waitFor();
    expect(await page.getByTestId("ended").textContent()).toContain("The room is closed. A new call has a new code.");
    expect(await page.getByTestId("rejoin").count()).toBe(0);
    await page.getByTestId("new-call").click();
    await page.getByTestId("waiting").waitFor();
    expect(await commands(page, "newCall")).toHaveLength(1);
    expect(await commands(page, "joinCall")).toHaveLength(0);
  });

  it("is joined again while others are in it", async () => {
    const { page } = await open("call:2");
    await page.getByTestId("hang-up").click();
    await page.getByTestId("rejoin").click();
    await page.getByTestId("call").waitFor();
    expect(await commands(page, "joinCall")).toHaveLength(1);
  });

  it("fills the screen when the window manager says so", async () => {
    const { page } = await open("call");
    const fullScreen = (on: boolean) => page.evaluate((value) => window.ahoyFake?.send({ type: "fullScreen", on: value }), on);
    await fullScreen(true);
    await page.locator("main.floating").waitFor();
    expect(await page.getByTestId("full-screen").getAttribute("aria-label")).toBe("Leave full screen");
    await fullScreen(false);
    await page.locator("main.floating").waitFor({ state: "detached" });
    expect(await commands(page, "setFullscreen")).toEqual([]);
  });

  it("by keyboard", async () => {
    const { page } = await open("home");
    await page.keyboard.press("Control+j");
    await until("focus", async () => (await focused(page)) === "code-field");
    await page.keyboard.type("4821 amb otte");
    await page.keyboard.press("Enter");
    await page.getByTestId("call").waitFor();
    expect(await commands(page, "joinCall")).toEqual([["4821 amber otter"]]);
    await page.keyboard.press("m");
    await page.keyboard.press("v");
    expect(await commands(page, "setMicrophoneMuted")).toEqual([[true]]);
    expect(await commands(page, "setCameraOn")).toEqual([[false]]);
    await page.keyboard.press("i");
    await page.getByTestId("invite-dialog").waitFor();
    await page.keyboard.press("m");
    expect(await commands(page, "setMicrophoneMuted")).toHaveLength(1);
    await page.keyboard.press("Escape");
    await page.getByTestId("invite-dialog").waitFor({ state: "detached" });
    await page.keyboard.press("s");
    await page.getByTestId("stats-panel").waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("stats-panel").waitFor({ state: "detached" });
    await page.keyboard.press("f");
    expect(await commands(page, "setFullscreen")).toEqual([[true]]);
    await page.keyboard.press("Escape");
    expect(await commands(page, "setFullscreen")).toEqual([[true], [false]]);
    await page.keyboard.press("Control+Shift+H");
    await page.getByTestId("ended").waitFor();
    expect(await focused(page)).toBe("new-call");
  });

  it("cancelled while waiting leads home", async () => {
    const { page } = await open("home");
    await page.keyboard.press("Control+n");
    await page.getByTestId("waiting").waitFor();
    await until("the code", async () => (await page.getByTestId("code-display").getAttribute("data-code")) !== "");
    await page.keyboard.press("Control+c");
    expect(await commands(page, "copyText")).toEqual([["4821-amber-otter"]]);
    await page.getByTestId("hang-up").click();
    await page.getByTestId("home").waitFor();
  });

  it("that fails keeps the code and says why", async () => {
    const { page } = await open("home");
    await page.getByTestId("code-field").fill("3390-quiet-heron");
    await page.getByTestId("join").click();
    await page.getByTestId("call-error").waitFor();
    expect(await page.getByTestId("call-error").textContent()).toContain("No call has this code");
    expect(await page.getByTestId("code-field").inputValue()).toBe("3390-quiet-heron");
  });

  it("at the server of a link does not send to the settings", async () => {
    const { page } = await open("home");
    await page.getByTestId("code-field").fill("ahoy://silent.example.org/4821#amber-otter");
    await page.getByTestId("join").click();
    await page.getByTestId("call-error").waitFor();
    const said = await page.getByTestId("call-error").textContent();
    expect(said).toContain("The server in the invite link does not answer");
    expect(said).toContain("silent.example.org");
    expect(said).not.toContain("settings");
  });
});

describe("focus", () => {
  it("goes through a call in the order of the design", async () => {
    const { page } = await open("call");
    await page.getByTestId("call").focus();
    const order: string[] = [];
    for (let i = 0; i < 13; i++) {
      await page.keyboard.press("Tab");
      order.push(await focused(page));
    }
    expect(order).toEqual(["self-view-box", "self-view-menu", "connection-state", "mute", "mute-menu", "camera", "camera-menu", "hang-up", "invite", "stats-toggle", "full-screen", "more", order[12]]);
  });

  it("comes back to the button whose menu was closed", async () => {
    const { page } = await open("call");
    await page.getByTestId("mute-menu").focus();
    await page.keyboard.press("Enter");
    await page.getByRole("menu").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("menu").waitFor({ state: "detached" });
    await until("focus", async () => (await focused(page)) === "mute-menu");
  });

  it("goes on to the next region by F6", async () => {
    const { page } = await open("call");
    const seen = new Set<string>();
    for (let i = 0; i < 3; i++) {
      await page.keyboard.press("F6");
      seen.add(await focused(page));
    }
    expect(seen.size).toBe(2);
  });

  it("is never caught by letters in a field", async () => {
    const { page } = await open("first");
    await page.getByTestId("name-field").pressSequentially("Mim v s?");
    expect(await page.getByTestId("name-field").inputValue()).toBe("Mim v s?");
    expect(await commands(page, "setMicrophoneMuted")).toEqual([]);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Ahoy, Mim v s?" }).waitFor();
  });
});

describe("a first name", () => {
  it("is followed by one click on New call, however slow", async () => {
    const { page } = await open("first");
    await page.getByTestId("name-field").fill("Mim");
    const box = await page.getByTestId("new-call").boundingBox();
    if (!box) throw new Error("no button");
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await until("the name is kept", async () => (await commands(page, "saveSettings")).length > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const pressed = await page.getByTestId("new-call").boundingBox();
    // It gives way a little when it is pressed.
    expect(Math.abs((pressed?.y ?? 0) - box.y)).toBeLessThan(2);
    await page.mouse.up();
    await until("the call", async () => (await commands(page, "newCall")).length === 1);
  });
});

describe("the self-view", () => {
  it("moves by arrow keys", async () => {
    const { page } = await open("call");
    const box = page.getByTestId("self-view-box");
    await box.focus();
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowLeft");
    expect(await box.getAttribute("data-corner")).toBe("topLeft");
    const saved = await commands(page, "saveSettings");
    expect(saved.at(-1)?.[0]).toMatchObject({ selfView: { corner: "topLeft" } });
  });

  it("is dragged and snaps to the nearest corner", async () => {
    const { page } = await open("call");
    const box = page.getByTestId("self-view-box");
    const place = await atRest(() => box.boundingBox());
    if (!place) throw new Error("no self-view");
    await page.mouse.move(place.x + 60, place.y + 60);
    await page.mouse.down();
    await page.mouse.move(500, 300, { steps: 4 });
    await page.mouse.move(260, 200, { steps: 4 });
    await page.mouse.up();
    await until("the corner's name", async () => (await box.getAttribute("data-corner")) === "topLeft");
    await until("the corner", async () => Math.abs(((await box.boundingBox())?.x ?? 0) - 28) < 2);
  });

  it("is hidden and comes back", async () => {
    const { page } = await open("call");
    await page.getByTestId("camera-menu").click();
    await page.getByTestId("menu-hide-self").click();
    await page.getByTestId("self-view-box").waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await page.getByTestId("more").click();
    await page.getByTestId("menu-show-self").click();
    await page.getByTestId("self-view-box").waitFor();
  });
});

describe("devices", () => {
  it("are chosen in a call from a menu that stays open", async () => {
    const { page } = await open("call");
    await page.getByTestId("mute-menu").click();
    await page.getByTestId("choice-device:mic1").click();
    expect(await commands(page, "selectMicrophone")).toEqual([["device:mic1"]]);
    await page.getByTestId("menu-play-sound").click();
    expect(await commands(page, "playTestSound")).toHaveLength(1);
    await page.getByTestId("choice-tone").click();
    expect(await commands(page, "selectMicrophone")).toEqual([["device:mic1"], ["tone"]]);
  });

  it("have sizes and rates", async () => {
    const { page } = await open("call");
    await page.getByTestId("camera-menu").click();
    await page.getByTestId("menu-size").press("ArrowRight");
    await page.getByTestId("size-360p").click();
    expect(await commands(page, "setVideoConstraints")).toEqual([[{ resolution: { width: 640, height: 360 }, frameRate: 30 }]]);
    await page.keyboard.press("ArrowLeft");
    await page.getByTestId("menu-rate").press("ArrowRight");
    await page.getByTestId("rate-15").click();
    expect((await commands(page, "setVideoConstraints")).at(-1)).toEqual([{ resolution: { width: 640, height: 360 }, frameRate: 15 }]);
  });

  it("that are missing leave a call possible and are looked for again", async () => {
    const { page } = await open("camera:notFound");
    expect(await page.getByTestId("self-view").textContent()).toContain("No camera found");
    expect(await page.getByTestId("self-view").textContent()).toContain("You can still call with sound");
    expect(await page.getByTestId("new-call").textContent()).toContain("New call with sound only");
    await page.getByTestId("look-again").click();
    await until("another try", async () => (await commands(page, "selectCamera")).length === 1);
  });

  it("play no sound without a speaker, and say why", async () => {
    const { page } = await open("speaker:notFound");
    const button = page.getByTestId("play-sound");
    expect(await button.getAttribute("aria-disabled")).toBe("true");
    await button.hover();
    await page.locator(".tooltip", { hasText: "No speaker found" }).waitFor();
    await button.click({ force: true });
    await page.getByTestId("settings-open").click();
    await page.getByTestId("section-sound").click();
    expect(await page.getByTestId("settings-play-sound").getAttribute("aria-disabled")).toBe("true");
    await page.keyboard.press("Escape");
    await page.evaluate(() => window.ahoyFake?.join(1));
    await page.getByTestId("mute-menu").click();
    const item = page.getByTestId("menu-play-sound");
    expect(await item.getAttribute("aria-disabled")).toBe("true");
    expect(await item.textContent()).toContain("No speaker found");
    expect(await commands(page, "playTestSound")).toEqual([]);
  });

  it("can be files", async () => {
    const { page } = await open("home");
    await page.getByTestId("settings-open").click();
    await page.getByTestId("section-picture").click();
    await page.getByTestId("camera-file").fill("/clips/a clip.y4m");
    await page.getByTestId("camera-file-use").click();
    expect(await commands(page, "selectCamera")).toEqual([["file:/clips/a clip.y4m"]]);
    await page.getByTestId("section-sound").click();
    await page.getByTestId("settings-microphone").click();
    await page.getByRole("option", { name: "Test microphone (tone)" }).click();
    expect(await commands(page, "selectMicrophone")).toEqual([["tone"]]);
  });
});

describe("push-to-talk", () => {
  const mute = (page: Page) => page.getByTestId("mute");
  const muted = (page: Page) => commands(page, "setMicrophoneMuted");

  it("unmutes while Space is held, and only then; a held key repeats without effect", async () => {
    const { page } = await open("call,muted");
    await page.keyboard.down(" ");
    await mute(page).filter({ hasText: "Talking" }).waitFor();
    expect(await mute(page).getAttribute("aria-pressed")).toBe("false");
    for (let i = 0; i < 5; i++) await page.keyboard.down(" ");
    expect(await muted(page)).toEqual([[false]]);
    await page.keyboard.up(" ");
    await mute(page).filter({ hasText: "Muted" }).waitFor();
    await until("muted again", async () => (await muted(page)).length === 2);
    expect(await muted(page)).toEqual([[false], [true]]);
  });

  it("does not move the strip", async () => {
    const { page } = await open("call,muted");
    const places = async () => Promise.all(["mute", "camera", "hang-up"].map((id) => page.getByTestId(id).boundingBox()));
    const before = await atRest(places);
    await page.keyboard.down(" ");
    await mute(page).filter({ hasText: "Talking" }).waitFor();
    expect(await places()).toEqual(before);
    await page.keyboard.up(" ");
  });

  it("ends when the window loses the focus", async () => {
    const { page } = await open("call,muted");
    await page.keyboard.down(" ");
    await mute(page).filter({ hasText: "Talking" }).waitFor();
    await page.evaluate(() => window.dispatchEvent(new Event("blur")));
    await mute(page).filter({ hasText: "Muted" }).waitFor();
    await until("muted again", async () => (await muted(page)).length === 2);
    await page.keyboard.up(" ");
    expect(await muted(page)).toEqual([[false], [true]]);
  });

  it("leaves Space to a button with focus, to menus and to fields", async () => {
    const { page } = await open("call,muted");
    await page.getByTestId("camera").focus();
    await page.keyboard.press(" ");
    expect(await commands(page, "setCameraOn")).toEqual([[false]]);
    await page.getByTestId("mute-menu").focus();
    await page.keyboard.press(" ");
    await page.getByRole("menu").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("menu").waitFor({ state: "detached" });
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-you").click();
    await page.locator("#settings-name").fill("");
    await page.locator("#settings-name").pressSequentially("Mira B");
    expect(await page.locator("#settings-name").inputValue()).toBe("Mira B");
    expect(await muted(page)).toEqual([]);
  });

  it("works after a click on the strip, after a menu closed by pointer, and on the self-view", async () => {
    const { page } = await open("call");
    await mute(page).click();
    await mute(page).filter({ hasText: "Muted" }).waitFor();
    await page.keyboard.press(" ");
    await until("talked", async () => (await muted(page)).length === 3);
    await page.getByTestId("mute-menu").click();
    await page.getByRole("menu").waitFor();
    await page.mouse.click(1000, 300);
    await page.getByRole("menu").waitFor({ state: "detached" });
    await page.keyboard.press(" ");
    await until("talked again", async () => (await muted(page)).length === 5);
    await page.getByTestId("self-view-box").focus();
    await page.keyboard.press(" ");
    await until("talked once more", async () => (await muted(page)).length === 7);
    expect(await muted(page)).toEqual([[true], [false], [true], [false], [true], [false], [true]]);
  });

  it("is off with single keys, and then named nowhere", async () => {
    const { page } = await open("call,muted");
    await mute(page).hover();
    await page.locator(".tooltip", { hasText: "hold Space to talk" }).waitFor();
    await page.keyboard.press("?");
    expect(await page.getByTestId("shortcuts-dialog").textContent()).toContain("Hold to talk while muted");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-shortcuts").click();
    await page.getByTestId("single-keys").click();
    expect(await page.getByTestId("settings").textContent()).not.toContain("Hold to talk while muted");
    await page.keyboard.press("Escape");
    await page.getByTestId("settings").waitFor({ state: "detached" });
    await page.getByTestId("call").focus();
    await page.keyboard.press(" ");
    expect(await muted(page)).toEqual([]);
  });

  it("is left by M: the microphone stays open", async () => {
    const { page } = await open("call,muted");
    await page.keyboard.down(" ");
    await mute(page).filter({ hasText: "Talking" }).waitFor();
    await page.keyboard.press("m");
    await page.keyboard.up(" ");
    await mute(page).filter({ hasNotText: "Talking" }).waitFor();
    expect(await mute(page).getAttribute("aria-pressed")).toBe("false");
    expect(await muted(page)).toEqual([[false]]);
  });
});

describe("voice and noise", () => {
  const set = (page: Page) => commands(page, "setProcessing");
  const usual = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, originalSound: false };

  it("are switched in the settings by keyboard, each with its explanation", async () => {
    const { page } = await open("call");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-sound").click();
    const echo = page.getByRole("switch", { name: "Echo cancellation" });
    expect(await echo.getAttribute("aria-checked")).toBe("true");
    expect(await page.locator(`#${await echo.getAttribute("aria-describedby")}`).textContent()).toContain("Takes the others’ voices out");
    await echo.focus();
    await page.keyboard.press(" ");
    expect(await echo.getAttribute("aria-checked")).toBe("false");
    expect(await set(page)).toEqual([[{ ...usual, echoCancellation: false }]]);
    await page.keyboard.press(" ");
    expect((await set(page)).at(-1)).toEqual([usual]);
  });

  it("are off under original sound, with the reason, and come back as they were", async () => {
    const { page } = await open("call");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-sound").click();
    const state = (name: string) => page.getByTestId(name).evaluate((one) => [one.getAttribute("aria-checked"), one.getAttribute("aria-disabled")]);
    await page.getByTestId("autoGainControl").click();
    await page.getByTestId("originalSound").click();
    expect((await set(page)).at(-1)).toEqual([{ ...usual, autoGainControl: false, originalSound: true }]);
    const noise = page.getByTestId("noiseSuppression");
    expect(await state("noiseSuppression")).toEqual(["false", "true"]);
    expect(await page.locator("#noiseSuppression-detail").textContent()).toBe("Off while original sound is on.");
    await noise.focus();
    expect(await focused(page), "it can be reached and heard").toBe("noiseSuppression");
    const before = (await set(page)).length;
    await page.keyboard.press(" ");
    expect(await set(page)).toHaveLength(before);
    expect(await state("noiseSuppression")).toEqual(["false", "true"]);
    await page.getByTestId("originalSound").click();
    expect(await state("noiseSuppression")).toEqual(["true", null]);
    expect(await state("autoGainControl")).toEqual(["false", null]);
  });

  it("are in the sound menu of a call, which stays open", async () => {
    const { page } = await open("call");
    await page.getByTestId("mute-menu").click();
    await page.getByTestId("menu-processing").press("ArrowRight");
    await page.getByTestId("menu-noiseSuppression").click();
    expect(await set(page)).toEqual([[{ ...usual, noiseSuppression: false }]]);
    await page.getByTestId("menu-originalSound").click();
    expect(await page.getByTestId("menu-noiseSuppression").getAttribute("aria-disabled")).toBe("true");
    expect(await page.getByTestId("menu-echoCancellation").textContent()).toContain("Off while original sound is on.");
    await page.getByTestId("menu-originalSound").click();
    expect((await set(page)).at(-1)).toEqual([{ ...usual, noiseSuppression: false }]);
    expect(await page.getByTestId("menu-echoCancellation").getAttribute("aria-checked")).toBe("true");
  });
});

describe("notes about sound", () => {
  it("move nothing, are said politely and do not pile up", async () => {
    const { page } = await open("call");
    const places = async () => Promise.all(["stage", "mute", "self-view-box"].map((id) => page.getByTestId(id).boundingBox()));
    const before = await atRest(places);
    await page.evaluate(() => {
      for (let i = 0; i < 10; i++) window.ahoyFake?.event({ type: "deviceReplaced", kind: "microphone", lostLabel: "Headset", label: "Built-in microphone", problem: "lost" });
    });
    const note = page.getByTestId("note");
    await note.waitFor();
    expect(await note.count()).toBe(1);
    expect(await note.textContent()).toContain("Headset was unplugged");
    expect(await note.textContent()).toContain("Your microphone is Built-in microphone until it is back.");
    expect(await note.getAttribute("role")).toBe("status");
    expect(await places()).toEqual(before);
    await until("said", async () => ((await page.getByTestId("live-polite").textContent()) ?? "").includes("Headset was unplugged."));
    await page.getByTestId("note-close").click();
    await note.waitFor({ state: "detached" });
  });

  it("tell and mark an unplugged microphone of somebody else until it is back", async () => {
    const { page } = await open("call");
    const tile = page.getByTestId("tile-2");
    expect(await tile.locator("[data-mark=unplugged]").count()).toBe(0);
    await page.evaluate(() => window.ahoyFake?.join(1, { microphoneUnplugged: true }));
    await page.getByTestId("note").filter({ hasText: "Jon’s microphone was unplugged." }).waitFor();
    await tile.locator("[data-mark=unplugged]").waitFor();
    expect(await page.getByTestId("remote-picture-2").getAttribute("aria-label")).toContain("microphone unplugged");
    await page.evaluate(() => window.ahoyFake?.join(1, { microphoneUnplugged: false }));
    await tile.locator("[data-mark=unplugged]").waitFor({ state: "detached" });
    await page.getByTestId("note").waitFor({ state: "detached" });
  });

  it("unmute with one click, or by M", async () => {
    const { page } = await open("call,muted");
    const speak = (on: boolean) => page.evaluate((hint) => window.ahoyFake?.local({ microphoneHint: hint ? "speaking-while-muted" : null }), on);
    await speak(true);
    await page.getByTestId("note").filter({ hasText: "You are muted" }).waitFor();
    await page.getByTestId("note-action").click();
    await page.getByTestId("note").waitFor({ state: "detached" });
    expect(await page.getByTestId("mute").getAttribute("aria-pressed")).toBe("false");
    expect(await commands(page, "setMicrophoneMuted")).toEqual([[false]]);
  });

  it("offer what helps against noise", async () => {
    const { page } = await open("call");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-sound").click();
    await page.getByTestId("noiseSuppression").click();
    await page.keyboard.press("Escape");
    await page.evaluate(() => window.ahoyFake?.local({ microphoneHint: "very-noisy" }));
    await page.getByTestId("note-action").click();
    expect(((await commands(page, "setProcessing")).at(-1) as unknown[])[0]).toMatchObject({ noiseSuppression: true });
    await page.getByTestId("note").waitFor({ state: "detached" });
  });
});

describe("the doctor in a call", () => {
  const findings = (page: Page) => page.getByTestId("doctor-dialog").getByTestId("doctor-findings");
  const examined = async (page: Page) => (await commands(page, "examineConnection")).length;

  it("is in the banner, looks at once, and outlasts the interruption", async () => {
    const { page } = await open("reconnecting");
    await page.getByTestId("banner-doctor").click();
    await findings(page).getByText("This network blocks UDP.").waitFor();
    expect(await page.getByTestId("doctor-summary").textContent()).toBe("Things that make calls worse: 1");
    await page.evaluate(() => window.ahoyFake?.view({ state: { name: "connected" } }));
    await page.getByTestId("reconnecting-banner").waitFor({ state: "detached" });
    expect(await findings(page).isVisible()).toBe(true);
    await page.keyboard.press("Escape");
    await page.getByTestId("doctor-dialog").waitFor({ state: "detached" });
    expect(await page.getByTestId("call").isVisible()).toBe(true);
    expect(await examined(page)).toBe(1);
    expect(await commands(page, "hangUp")).toEqual([]);
  });

  it("is reached by keys: F6 to the banner, D, and the menu", async () => {
    const { page } = await open("reconnecting");
    for (let i = 0; i < 4 && (await focused(page)) !== "banner-doctor"; i++) await page.keyboard.press("F6");
    await page.keyboard.press("Enter");
    await findings(page).waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("doctor-dialog").waitFor({ state: "detached" });
    await until("focus is back", async () => (await focused(page)) === "banner-doctor");
    await page.keyboard.press("d");
    await findings(page).waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("doctor-dialog").waitFor({ state: "detached" });
    await page.getByTestId("more").focus();
    await page.keyboard.press("Enter");
    await page.getByTestId("menu-doctor").press("Enter");
    await findings(page).waitFor();
    expect(await examined(page), "each time anew").toBe(3);
  });

  it("is beside the figures when the connection is poor", async () => {
    const { page } = await open("call,quality:uploadSlow.poor.180");
    await page.getByTestId("connection-state").click();
    await page.getByTestId("stats-doctor").click();
    await findings(page).waitFor();
  });
});

describe("before a call", () => {
  it.each(["home", "lobby"])("%s shows the microphone’s level live and tries the speaker that is chosen", async (screen) => {
    const { page } = await open(screen);
    const meter = page.getByTestId("row-microphone").getByRole("meter");
    const seen = new Set<string | null>();
    await until("a level that moves", async () => seen.add(await meter.getAttribute("aria-valuenow")).size > 2);
    await page.getByTestId("choose-speaker").click();
    await page.getByRole("option", { name: "Headset (Bluetooth)" }).click();
    await page.getByTestId("play-sound").click();
    const order = await page.evaluate(() => window.ahoyFake?.calls.map((one) => one.command).filter((command) => command === "selectSpeaker" || command === "playTestSound"));
    expect(order).toEqual(["selectSpeaker", "playTestSound"]);
    expect(await commands(page, "selectSpeaker")).toEqual([["device:out1"]]);
  });
});

describe("settings", () => {
  it("apply at once and close by Esc, also in a call", async () => {
    const { page } = await open("call");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-appearance").click();
    await page.getByTestId("settings-theme").click();
    await page.getByRole("option", { name: "Dark" }).click();
    await until("dark", () => page.evaluate(() => document.documentElement.dataset["theme"] === "dark"));
    await page.keyboard.press("Escape");
    await page.getByTestId("settings").waitFor({ state: "detached" });
    await page.getByTestId("call").waitFor();
  });

  it("switch single keys off", async () => {
    const { page } = await open("call");
    await page.keyboard.press("Control+,");
    await page.getByTestId("section-shortcuts").click();
    await page.getByTestId("single-keys").click();
    await page.keyboard.press("Escape");
    await page.getByTestId("settings").waitFor({ state: "detached" });
    await page.keyboard.press("m");
    expect(await commands(page, "setMicrophoneMuted")).toEqual([]);
  });

  it("take a server only when it is one", async () => {
    const { page } = await open("home");
    await page.getByTestId("change-server").click();
    await page.getByTestId("server-other").click();
    await page.getByTestId("server-address").fill("nonsense");
    await page.getByTestId("server-use").click();
    expect(await commands(page, "saveSettings")).toEqual([]);
    expect(await page.getByTestId("server-address").getAttribute("aria-invalid")).toBe("true");
    await page.getByTestId("server-address").fill("wss://call.example.org");
    await page.getByTestId("server-use").click();
    expect((await commands(page, "saveSettings")).at(-1)?.[0]).toMatchObject({ server: "wss://call.example.org" });
  });
});

describe("a notice", () => {
  it("covers nothing, at home, in the settings and in a call, until it is closed", async () => {
    const { page } = await open("notice", { width: 1100, height: 700 });
    const notice = page.getByTestId("notice");
    const bottom = async () => {
      const box = await notice.boundingBox();
      if (!box) throw new Error("no notice");
      return box.y + box.height;
    };
    const top = async (testid: string) => (await page.getByTestId(testid).boundingBox())?.y ?? -1;
    expect(await notice.textContent()).toContain("Your settings could not be understood");
    expect(await notice.textContent()).toContain("/home/mira/.config/ahoy/settings.broken-1.json");
    expect(await page.getByTestId("note").count()).toBe(0);
    for (const testid of ["home", "settings-open", "self-view"]) expect(await top(testid), testid).toBeGreaterThanOrEqual(await bottom());
    await page.getByTestId("change-server").click();
    await page.getByTestId("settings").waitFor();
    expect(await notice.count()).toBe(1);
    for (const testid of ["settings-close", "section-you", "server-own"]) expect(await top(testid), testid).toBeGreaterThanOrEqual(await bottom());
    await page.keyboard.press("Escape");
    await page.evaluate(() => window.ahoyFake?.join(1));
    await page.getByTestId("stage").waitFor();
    expect(await top("stage")).toBeGreaterThanOrEqual(await bottom());
    const hangUp = await page.getByTestId("hang-up").boundingBox();
    expect((hangUp?.y ?? 999) + (hangUp?.height ?? 0), "the controls are still in the window").toBeLessThan(700);
    await page.getByTestId("notice-close").click();
    await notice.waitFor({ state: "detached" });
  });
});

describe("recent calls", () => {
  it("are removed and brought back", async () => {
    const { page } = await open("home");
    await page.getByTestId("recent-menu").first().click();
    await page.getByTestId("recent-remove").click();
    await until("three left", async () => (await page.getByTestId("recent-call").count()) === 3);
    await page.getByTestId("note-action").click();
    await until("four again", async () => (await page.getByTestId("recent-call").count()) === 4);
  });
});

describe("the code field", () => {
  it("completes words, underlines wrong ones and offers the nearest", async () => {
    const { page } = await open("home");
    const field = page.getByTestId("code-field");
    await field.pressSequentially("4821 ambe");
    await until("grey letters", async () => (await page.locator(".completion").textContent()) === "r");
    await field.press("ArrowRight");
    expect(await field.inputValue()).toBe("4821 amber");
    await field.pressSequentially(" oter ");
    await page.getByTestId("code-problem").waitFor();
    expect(await page.locator(".wrong").textContent()).toBe("oter");
    await page.getByTestId("use-nearest").click();
    await until("the word", async () => (await field.inputValue()).startsWith("4821 amber otter"));
    expect(await focused(page)).toBe("code-field");
    await field.press("Enter");
    await page.getByTestId("call").waitFor();
  });

  it("takes a pasted link", async () => {
    const { page } = await open("home");
    await page.getByTestId("code-field").fill("ahoy://call.example.org/4821#amber-otter");
    await page.getByText("An invite link for 4821-amber-otter. It uses its own server.").waitFor();
    await page.getByTestId("join").click();
    await page.getByTestId("call").waitFor();
  });
});

describe("dialogs that are only read", () => {
  it.each(["invite:i:Invite somebody", "shortcuts:?:Keyboard shortcuts", "doctor:d:Check the connection"])("%s: named by their title, closed by their button or Escape, and the focus goes back", async (which) => {
    const [dialog = "", key = "", title = ""] = which.split(":");
    const { page } = await open("call");
    for (const close of ["button", "Escape"]) {
      await page.getByTestId("camera").focus();
      await page.keyboard.press(key);
      await page.getByRole("dialog", { name: title, exact: true }).waitFor();
      if (close === "button") await page.getByTestId(`${dialog}-close`).click();
      else await page.keyboard.press(close);
      await page.getByTestId(`${dialog}-dialog`).waitFor({ state: "detached" });
      await until("focus is back", async () => (await focused(page)) === "camera");
    }
  });
});

describe("closing the window in a call", () => {
  it("asks once", async () => {
    const { page } = await open("call");
    await page.evaluate(() => window.ahoyFake?.send({ type: "closeRequested" }));
    await page.getByTestId("closing-dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("closing-dialog").waitFor({ state: "detached" });
    await page.evaluate(() => window.ahoyFake?.send({ type: "closeRequested" }));
    await page.getByTestId("close-window").click();
    expect(await commands(page, "closeWindow")).toHaveLength(1);
  });
});

describe("full screen", () => {
  it("hides the strip after three seconds without the pointer, and brings it back", async () => {
    const { page } = await open("still,call", { clock: true });
    await page.keyboard.press("f");
    await page.locator(".call.floating").waitFor();
    for (let i = 0; i < 2; i++) await page.clock.runFor(1000);
    expect(await page.locator(".call.hidden").count()).toBe(0);
    for (let i = 0; i < 2; i++) await page.clock.runFor(1000);
    await page.locator(".call.hidden").waitFor({ state: "attached" });
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    expect(await page.locator(".call.hidden").count()).toBe(1);
    await page.mouse.move(600, 300);
    await page.locator(".call.hidden").waitFor({ state: "detached" });
  });
});

describe("layout", () => {
  it("does not move when states change", async () => {
    const { page } = await open("home");
    const places = () =>
      page.evaluate(() =>
        ["new-call", "code-field", "join", "row-camera", "row-server"].map((id) => {
          const box = document.querySelector(`[data-testid=${id}]`)?.getBoundingClientRect();
          return box ? [Math.round(box.x), Math.round(box.y), Math.round(box.width)] : null;
        }),
      );
    await until("the picture", async () => (await page.getByTestId("self-view").getAttribute("data-showing")) === "true");
    const before = await atRest(places);
    await page.getByTestId("mute").click();
    expect(await places()).toEqual(before);
    await page.getByTestId("camera").click();
    expect(await places()).toEqual(before);
    await page.getByTestId("code-field").fill("4821 amber oter ");
    await page.getByTestId("code-problem").waitFor();
    expect(await places()).toEqual(before);
  });
});
