// Every screen, in both themes: nothing that axe objects to, nothing wider than the window, and a
// picture of each to look at.

import type { Page } from "playwright-core";
import { describe, it } from "vitest";
import { expect, expectAccessible, expectNoSidewaysScroll, open, shot, useBrowser } from "./window";

useBrowser();

interface Screen {
  name: string;
  scenario: string;
  act?: (page: Page) => Promise<void>;
}

const section = (name: string) => async (page: Page) => {
  await page.keyboard.press("Control+,");
  await page.getByTestId(`section-${name}`).click();
};

const note = (page: Page) => page.getByTestId("note").waitFor();

const SCREENS: Screen[] = [
  { name: "home", scenario: "still" },
  { name: "home-first-start", scenario: "still,first" },
  { name: "home-no-camera", scenario: "still,camera:notFound" },
  { name: "home-camera-busy", scenario: "still,camera:busy" },
  { name: "home-nothing-works", scenario: "still,camera:denied,microphone:notFound,speaker:lost" },
  { name: "home-starting", scenario: "still,starting" },
  { name: "home-camera-off-muted", scenario: "still,cameraOff,muted" },
  { name: "home-notice", scenario: "still,notice" },
  { name: "home-wrong-code", scenario: "still", act: async (page) => void (await page.getByTestId("code-field").pressSequentially("4821-amber-oter ")) },
  {
    name: "home-silent-server",
    scenario: "still",
    act: async (page) => {
      await page.getByTestId("code-field").fill("ahoy://silent.example.org/4821#amber-otter");
      await page.getByTestId("join").click();
      await page.getByTestId("call-error").waitFor();
    },
  },
  {
    name: "home-unknown-room",
    scenario: "still",
    act: async (page) => {
      await page.getByTestId("code-field").fill("3390-quiet-heron");
      await page.getByTestId("join").click();
      await page.getByTestId("call-error").waitFor();
    },
  },
  { name: "home-device-menu", scenario: "still", act: async (page) => void (await page.getByTestId("choose-microphone").click()) },
  { name: "lobby", scenario: "still,lobby" },
  { name: "creating", scenario: "still,creating" },
  { name: "waiting", scenario: "still,waiting" },
  { name: "waiting-server", scenario: "still,waiting:server" },
  { name: "waiting-computer", scenario: "still,waiting:thisComputer" },
  { name: "connecting", scenario: "still,connecting" },
  { name: "call", scenario: "still,call" },
  { name: "call-muted", scenario: "still,call,muted,cameraOff" },
  { name: "call-grid-5", scenario: "still,call:4" },
  { name: "call-grid-10", scenario: "still,call:9" },
  { name: "call-reconnecting", scenario: "still,reconnecting" },
  { name: "call-quality-fair", scenario: "still,call,quality:uploadSlow.fair.360" },
  { name: "call-quality-poor", scenario: "still,call,muted,unplugged,quality:theirUploadSlow.poor.180" },
  { name: "call-quality-unknown", scenario: "still,call,quality:unknown" },
  { name: "call-quality-grid-5", scenario: "still,call:4,quality" },
  { name: "call-quality-grid-10", scenario: "still,call:9,quality" },
  { name: "call-sound-menu", scenario: "still,call", act: async (page) => void (await page.getByTestId("mute-menu").click()) },
  {
    name: "call-voice-menu",
    scenario: "still,call,original",
    act: async (page) => {
      await page.getByTestId("mute-menu").click();
      await page.getByTestId("menu-processing").press("Enter");
      await page.getByTestId("menu-originalSound").waitFor();
    },
  },
  {
    name: "call-talking",
    scenario: "still,call,muted",
    act: async (page) => {
      await page.keyboard.down(" ");
      await page.getByTestId("mute").filter({ hasText: "Talking" }).waitFor();
    },
  },
  { name: "call-hint-muted", scenario: "still,call,muted,hint:speaking-while-muted", act: note },
  { name: "call-hint-nothing", scenario: "still,call,hint:nothing-heard", act: note },
  { name: "call-hint-noisy", scenario: "still,call,hint:very-noisy", act: note },
  {
    name: "call-device-replaced",
    scenario: "still,call,instead",
    act: async (page) => {
      await page.evaluate(() => window.ahoyFake?.event({ type: "deviceReplaced", kind: "microphone", lostLabel: "Headset", label: "Built-in microphone", problem: "lost" }));
      await note(page);
    },
  },
  { name: "call-unplugged", scenario: "still,call:3,unplugged" },
  {
    name: "home-device-replaced",
    scenario: "still,instead",
    act: async (page) => {
      await page.evaluate(() => window.ahoyFake?.event({ type: "deviceReplaced", kind: "microphone", lostLabel: "Headset", label: "Built-in microphone", problem: "lost" }));
      await note(page);
    },
  },
  {
    name: "call-picture-menu",
    scenario: "still,call",
    act: async (page) => {
      await page.getByTestId("camera-menu").click();
      await page.getByTestId("menu-size").press("Enter");
      await page.getByTestId("size-720p").waitFor();
    },
  },
  {
    name: "call-stats",
    scenario: "still,call",
    act: async (page) => {
      await page.getByTestId("stats-toggle").click();
      await page.locator("[data-stat=sent]").waitFor();
    },
  },
  {
    name: "call-stats-several",
    scenario: "still,call:4,quality",
    act: async (page) => {
      await page.getByTestId("stats-toggle").click();
      await page.locator("[data-stat=sent]").first().waitFor();
    },
  },
  {
    name: "call-doctor",
    scenario: "still,reconnecting",
    act: async (page) => {
      await page.getByTestId("banner-doctor").click();
      await page.getByTestId("doctor-findings").waitFor();
    },
  },
  { name: "call-invite", scenario: "still,call", act: async (page) => void (await page.keyboard.press("i")) },
  { name: "call-full-screen", scenario: "still,call", act: async (page) => void (await page.keyboard.press("f")) },
  { name: "call-note", scenario: "still,call", act: async (page) => page.evaluate(() => window.ahoyFake?.event({ type: "deviceProblem", kind: "camera", problem: "lost", detail: "" })) },
  { name: "call-closing", scenario: "still,call", act: async (page) => page.evaluate(() => window.ahoyFake?.send({ type: "closeRequested" })) },
  { name: "ended", scenario: "still,call", act: async (page) => void (await page.getByTestId("hang-up").click()) },
  { name: "ended-of-three", scenario: "still,call:2", act: async (page) => void (await page.getByTestId("hang-up").click()) },
  { name: "ended-failed", scenario: "still,call", act: async (page) => page.evaluate(() => window.ahoyFake?.end("connectionFailed")) },
  { name: "settings-notice", scenario: "still,notice", act: section("server") },
  { name: "settings-you", scenario: "still", act: section("you") },
  { name: "settings-sound", scenario: "still,microphone:busy", act: section("sound") },
  { name: "settings-sound-original", scenario: "still,original,instead", act: section("sound") },
  { name: "settings-picture", scenario: "still", act: section("picture") },
  { name: "settings-server", scenario: "still", act: section("server") },
  {
    name: "settings-doctor",
    scenario: "still",
    act: async (page) => {
      await section("server")(page);
      await page.getByTestId("doctor-run").click();
      await page.getByTestId("doctor-findings").scrollIntoViewIfNeeded();
    },
  },
  {
    name: "settings-server-wrong",
    scenario: "still",
    act: async (page) => {
      await section("server")(page);
      await page.getByTestId("server-other").click();
      await page.getByTestId("server-address").fill("call.example.org");
      await page.getByTestId("server-use").click();
    },
  },
  { name: "settings-appearance", scenario: "still", act: section("appearance") },
  { name: "settings-shortcuts", scenario: "still", act: section("shortcuts") },
  { name: "settings-about", scenario: "still", act: section("about") },
  { name: "shortcuts", scenario: "still", act: async (page) => void (await page.keyboard.press("?")) },
];

describe.each(["light", "dark"])("%s", (theme) => {
  it.each(SCREENS)("$name", async ({ name, scenario, act }) => {
    const { page } = await open(theme === "dark" ? `${scenario},dark` : scenario);
    await act?.(page);
    expect(await page.evaluate(() => document.documentElement.dataset["theme"])).toBe(theme);
    await expectAccessible(page, name);
    await expectNoSidewaysScroll(page, name);
    await shot(page, `${name}-${theme}`);
  });
});

describe("360 x 480", () => {
  const NARROW = SCREENS.filter(({ name }) => !["call-full-screen", "call-sound-menu", "call-voice-menu", "call-picture-menu", "call-stats", "call-stats-several"].includes(name));
  it.each(NARROW)("$name", async ({ name, scenario, act }) => {
    const { page } = await open(scenario, { width: 360, height: 480 });
    await act?.(page);
    await page.waitForTimeout(150);
    await expectNoSidewaysScroll(page, name);
    await shot(page, `${name}-360`);
  });

  it("stats come by the state's text and leave by Esc", async () => {
    const { page } = await open("still,call", { width: 360, height: 640 });
    await page.getByTestId("connection-state").click();
    await page.locator("[data-stat=sent]").waitFor();
    await expectNoSidewaysScroll(page, "stats");
    await expectAccessible(page, "stats at 360");
    await shot(page, "call-stats-360");
    await page.keyboard.press("Escape");
    await page.getByTestId("stats-panel").waitFor({ state: "detached" });
  });

  it("device menus are behind More", async () => {
    const { page } = await open("still,call", { width: 360, height: 640 });
    await page.getByTestId("more").click();
    await page.getByRole("menuitem", { name: "Camera and picture size" }).click();
    await page.getByTestId("settings-camera").click();
    await page.getByRole("option", { name: "Test camera" }).click();
    expect(await page.evaluate(() => window.ahoyFake?.calls.some((one) => one.command === "selectCamera" && one.args[0] === "pattern"))).toBe(true);
    await shot(page, "call-more-360");
  });
});

describe("other needs", () => {
  it.each(["home", "waiting", "call", "call-quality-poor", "call-stats", "ended", "settings-picture"])("%s with twice the text size", async (name) => {
    const screen = SCREENS.find((one) => one.name === name);
    if (!screen) throw new Error(name);
    const { page } = await open(screen.scenario);
    await page.evaluate(() => (document.documentElement.style.fontSize = "200%"));
    await screen.act?.(page);
    await page.setViewportSize({ width: 1281, height: 800 });
    await page.waitForTimeout(200);
    await expectNoSidewaysScroll(page, name);
    await shot(page, `${name}-text-200`);
  });

  it.each(["home", "call", "call-quality-grid-5", "call-stats", "settings-server"])("%s in forced colours", async (name) => {
    const screen = SCREENS.find((one) => one.name === name);
    if (!screen) throw new Error(name);
    const { page } = await open(screen.scenario, { forcedColors: "active" });
    await screen.act?.(page);
    await expectAccessible(page, name);
    await shot(page, `${name}-forced-colours`);
  });
});
