// How good a connection is: in the name tag, in the strip, and aloud.

import type { Page } from "playwright-core";
import { describe, it } from "vitest";
import { expect, open, shot, useBrowser } from "./window";

useBrowser();

const quality = (page: Page, text: string) => page.evaluate((to) => window.ahoyFake?.quality(to), text);
const polite = async (page: Page) => (await page.getByTestId("live-polite").textContent()) ?? "";
const focused = (page: Page) => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset["testid"] ?? "");

async function until(what: string, check: () => Promise<boolean>, ms = 8000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Left edge and distance from the bottom: the name keeps both while its tag grows. */
async function nameAt(page: Page): Promise<number[]> {
  const box = await page.locator("[data-testid=tile-2] .name").boundingBox();
  return box ? [Math.round(box.x), Math.round(box.y)] : [];
}

describe("the quality of a connection", () => {
  it("is in the name tag only when there is something to notice", async () => {
    const { page } = await open("still,call");
    const tag = page.getByTestId("quality-2");
    for (const silent of ["good", "unknown", "interrupted.poor"]) {
      await quality(page, silent);
      expect(await tag.count(), silent).toBe(0);
    }
    await quality(page, "uploadSlow.fair.360");
    await tag.waitFor();
    const tile = page.getByTestId("tile-2");
    expect(await tile.locator(".words").textContent()).toBe("Your upload is slow: picture reduced to 360p");
    expect(await tile.locator("[data-bars]").getAttribute("data-bars")).toBe("2");
    expect(await tag.getAttribute("aria-label")).toBe("Jon: Fair connection. Your upload is slow: picture reduced to 360p.");
    expect(await page.getByTestId("remote-picture-2").getAttribute("aria-label")).toContain("fair connection");
    await quality(page, "theirUploadSlow.poor.180");
    await page.getByText("Jon’s upload is slow: their picture is reduced to 180p").first().waitFor();
    expect(await tile.locator("[data-bars]").getAttribute("data-bars")).toBe("1");
    await quality(page, "good");
    await tag.waitFor({ state: "detached" });
  });

  it("is in the strip as well: the worst of all", async () => {
    const { page } = await open("still,call:4");
    const state = page.getByTestId("connection-state");
    expect(await state.textContent()).toContain("Good connection");
    await quality(page, "mixed");
    await state.filter({ hasText: "Poor connection" }).waitFor();
    expect(await state.textContent()).toContain("Adaeze’s upload is slow: their picture is reduced to 180p");
    expect(await state.locator("[data-bars]").getAttribute("data-bars")).toBe("1");
    for (const [id, there] of [[2, 1], [3, 0], [4, 1], [5, 1]] as const) expect(await page.getByTestId(`quality-${id}`).count(), `tile ${id}`).toBe(there);
    await quality(page, "unknown");
    await state.filter({ hasText: "Connected" }).waitFor();
  });

  it.each([
    [1280, 800, "call"],
    [1000, 700, "call"],
    [800, 600, "call:2"],
    [360, 640, "call"],
  ])("moves nothing at %i × %i in %s", async (width, height, scenario) => {
    const { page } = await open(`still,${scenario}`, { width, height });
    const ids = ["stage", "tile-2", "mute", "camera", "hang-up", "call-time", "more", "self-view-box"];
    const places = async () => [await nameAt(page), ...(await Promise.all(ids.map((id) => page.getByTestId(id).first().boundingBox())))];
    await page.getByTestId("self-view-box").waitFor();
    await page.waitForTimeout(300);
    // Who speaks has a mark before the name.
    await page.evaluate(() => window.ahoyFake?.local({ microphone: { selection: "default", label: null, format: "", problem: null, problemDetail: "", insteadOf: null } }));
    await page.locator("[data-testid=tile-2] .line .on").first().waitFor();
    const before = await places();
    for (const text of ["unknown", "delayLong", "theirUploadSlow.poor.180", "computerBusy.fair.540", "good"]) {
      await quality(page, text);
      await page.waitForTimeout(120);
      expect(await places(), text).toEqual(before);
    }
  });

  it("covers neither the face nor our own picture", async () => {
    for (const [width, height] of [[1280, 800], [360, 640]] as const) {
      const { page } = await open("still,call,quality:theirUploadSlow.poor.180", { width, height });
      const tag = await page.locator("[data-testid=tile-2] .tag").boundingBox();
      const tile = await page.getByTestId("tile-2").boundingBox();
      const self = await page.getByTestId("self-view-box").boundingBox();
      if (!tag || !tile || !self) throw new Error("not there");
      expect(tag.y, "only the lowest quarter").toBeGreaterThan(tile.y + tile.height * 0.75);
      expect(tag.x + tag.width).toBeLessThanOrEqual(self.x);
      const words = page.locator("[data-testid=tile-2] .words");
      expect(await words.evaluate((element) => element.scrollHeight <= element.clientHeight + 1), `all words are seen at ${width}`).toBe(true);
      await page.close();
    }
  });

  it("is said politely once for each change", async () => {
    const { page } = await open("still,call");
    await quality(page, "uploadSlow.fair.360");
    await until("said", async () => (await polite(page)).includes("Jon: Fair connection. Your upload is slow: picture reduced to 360p."));
    const changes = await page.evaluate(() => {
      const region = document.querySelector("[data-testid=live-polite]");
      const seen = { changes: 0 };
      if (region) new MutationObserver((list) => (seen.changes += list.length)).observe(region, { childList: true, subtree: true, characterData: true });
      (window as unknown as { seen: typeof seen }).seen = seen;
      return seen.changes;
    });
    expect(changes).toBe(0);
    await quality(page, "uploadSlow.fair.540");
    await page.getByText("picture reduced to 540p").first().waitFor();
    await page.waitForTimeout(2300);
    expect(await page.evaluate(() => (window as unknown as { seen: { changes: number } }).seen.changes)).toBe(0);
    await quality(page, "good");
    await until("said that it is over", async () => (await polite(page)).includes("The connection to Jon is good again."));
  });

  it("is not told twice while the connection is interrupted", async () => {
    const { page } = await open("still,reconnecting");
    await quality(page, "interrupted.poor");
    await page.waitForTimeout(2300);
    expect(await polite(page)).not.toContain("Poor connection");
    expect(await page.getByTestId("quality-2").count()).toBe(0);
    expect(await page.getByTestId("connection-state").textContent()).toContain("Reconnecting…");
  });

  it("has a tooltip and leads to the figures, by pointer and by keyboard", async () => {
    const { page } = await open("still,call:9,quality", { width: 1000, height: 700 });
    expect(await page.locator("[data-testid=tile-4] .words").isVisible(), "no room for words").toBe(false);
    await page.getByTestId("quality-4").hover();
    await page.locator(".tooltip").filter({ hasText: "Poor connection. Adaeze’s upload is slow: their picture is reduced to 180p." }).waitFor();
    const box = await page.getByTestId("quality-4").boundingBox();
    expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(44);
    await page.getByTestId("call").focus();
    await page.keyboard.press("Tab");
    expect(await focused(page)).toBe("quality-2");
    await page.keyboard.press("Enter");
    await page.getByTestId("stats-panel").waitFor();
    await quality(page, "good");
    await page.getByTestId("quality-2").waitFor({ state: "detached" });
    expect(await focused(page), "the focus stays in the call").toBe("call");
  });

  it("keeps the strip in full screen", async () => {
    const { page } = await open("still,call,quality:uploadLossy.poor", { clock: true });
    await page.keyboard.press("f");
    await page.locator(".call.floating").waitFor();
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    expect(await page.locator(".call.hidden").count()).toBe(0);
    await shot(page, "quality-full-screen");
    await quality(page, "good");
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    await page.locator(".call.hidden").waitFor({ state: "attached" });
  });
});
