// The panel of figures: the last minute of each connection, once a second, and all of it as JSON.

import type { Page } from "playwright-core";
import { describe, it } from "vitest";
import { expect, expectAccessible, expectNoSidewaysScroll, open, shot, useBrowser } from "./window";

useBrowser();

const polite = async (page: Page) => (await page.getByTestId("live-polite").textContent()) ?? "";
const asked = (page: Page) => page.evaluate(() => window.ahoyFake?.calls.filter(({ command }) => command === "stats").length ?? 0);

async function until(what: string, check: () => Promise<boolean>, ms = 8000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("the plots", () => {
  const PLOTS = ["roundTrip", "bitrate", "loss", "buffer", "frames", "size", "encode"];
  const minute = async (page: Page) => {
    for (let i = 0; i < 64; i++) await page.clock.runFor(1000);
  };

  it.each(["light", "dark"])("show the last minute, %s", async (theme) => {
    for (const [width, height] of [[1280, 800], [360, 640]] as const) {
      const { page } = await open(`still,call,quality:uploadSlow.fair.360${theme === "dark" ? ",dark" : ""}`, { width, height, clock: true });
      await page.getByTestId("connection-state").click();
      await page.getByTestId("plot-bitrate").waitFor();
      await minute(page);
      for (const name of PLOTS) {
        const plot = page.getByTestId(`plot-${name}`);
        expect(await plot.locator("[data-plot-now]").textContent(), name).toMatch(/^\d[\d.]*( \/ \d[\d.]*)?$/);
        expect(await plot.locator("[role=img]").getAttribute("aria-label"), name).toMatch(/last 60 seconds\. .*: \d[\d.]* \S+, between \d[\d.]* and \d/);
        for (const path of await plot.locator("[data-series]").all()) expect((await path.getAttribute("d"))?.match(/L/g)?.length ?? 0, name).toBeGreaterThan(55);
        const box = await plot.boundingBox();
        expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(width);
      }
      expect(await page.getByTestId("plot-bitrate").locator(".members").textContent()).toBe("bytesSent · bytesReceived · availableOutgoingBitrate");
      expect(await page.getByTestId("stats-panel").locator(".verdict").textContent()).toBe("Fair connection. Your upload is slow: picture reduced to 360p.");
      await page.clock.resume();
      await shot(page, `plots-${width}-${theme}`);
      const summary = page.locator("[data-testid=last-minute-2] summary");
      await summary.focus();
      await page.keyboard.press("Enter");
      await page.getByRole("table", { name: "The last 60 seconds, Jon" }).waitFor();
      await summary.evaluate((element) => element.scrollIntoView({ block: "start" }));
      expect(await page.getByTestId("call").evaluate((element) => element.scrollTop), "the page behind does not scroll").toBe(0);
      await expectNoSidewaysScroll(page, `plots ${width}`);
      await expectAccessible(page, `plots ${width} ${theme}`);
      await shot(page, `plots-table-${width}-${theme}`);
      await page.close();
    }
  });

  it("ask once a second while open, and not at all while closed or hidden", async () => {
    const { page } = await open("still,call", { clock: true });
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    expect(await asked(page)).toBe(0);
    await page.getByTestId("connection-state").click();
    await page.getByTestId("plot-bitrate").waitFor();
    await page.evaluate(() => {
      const counts = { drawn: 0 };
      const path = document.querySelector("[data-series=roundTrip]");
      if (path) new MutationObserver((list) => (counts.drawn += list.length)).observe(path, { attributes: true, attributeFilter: ["d"] });
      (window as unknown as { counts: typeof counts }).counts = counts;
    });
    const before = await asked(page);
    for (let i = 0; i < 10; i++) await page.clock.runFor(1000);
    expect((await asked(page)) - before).toBeLessThanOrEqual(10);
    expect((await asked(page)) - before).toBeGreaterThanOrEqual(8);
    expect(await page.evaluate(() => (window as unknown as { counts: { drawn: number } }).counts.drawn)).toBeLessThanOrEqual(10);
    await page.evaluate(() => Object.defineProperty(document, "hidden", { configurable: true, get: () => true }));
    const hidden = await asked(page);
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    expect(await asked(page)).toBe(hidden);
    await page.evaluate(() => Object.defineProperty(document, "hidden", { configurable: true, get: () => false }));
    await page.getByTestId("stats-close").click();
    await page.getByTestId("stats-panel").waitFor({ state: "detached" });
    const closed = await asked(page);
    for (let i = 0; i < 5; i++) await page.clock.runFor(1000);
    expect(await asked(page)).toBe(closed);
  });

  it("are copied as JSON, which is confirmed", async () => {
    const { page } = await open("still,call,quality:uploadSlow.fair.360");
    await page.keyboard.press("s");
    await page.locator("[data-stat=sent]").waitFor();
    const copy = page.getByTestId("copy-report");
    expect(await copy.textContent()).toContain("Copy as JSON");
    await copy.focus();
    await page.keyboard.press("Enter");
    await until("confirmed", async () => (await copy.getAttribute("data-copied")) === "true");
    await until("said", async () => (await polite(page)).includes("Copied."));
    const text = await page.evaluate(() => String(window.ahoyFake?.calls.find(({ command }) => command === "copyText")?.args[0]));
    const report = JSON.parse(text) as { timestamp: number; stats: { type: string; kind?: string; timestamp: number }[]; participants: { quality: object }[] };
    expect(report.timestamp).toBeGreaterThan(1e12);
    expect(report.stats.map(({ type, kind }) => (kind ? `${type}:${kind}` : type))).toEqual(["outbound-rtp:video", "outbound-rtp:audio", "inbound-rtp:video", "inbound-rtp:audio", "remote-inbound-rtp:video", "remote-inbound-rtp:audio", "candidate-pair"]);
    expect(report.stats.every(({ timestamp }) => timestamp === report.timestamp)).toBe(true);
    expect(report.participants[0]?.quality).toEqual({ level: "fair", cause: "uploadSlow", reducedTo: 360 });
    expect(text).not.toContain("Jon");
    expect(text).not.toContain("amber");
  });

  it("are folded for all but the first of several, and unfold by keyboard", async () => {
    const { page } = await open("still,call:4,quality");
    await page.keyboard.press("s");
    await page.getByTestId("plot-bitrate").waitFor();
    expect(await page.getByTestId("plot-bitrate").count()).toBe(1);
    const kenji = page.getByTestId("stats-of-5");
    expect(await kenji.getAttribute("aria-expanded")).toBe("false");
    expect(await kenji.textContent()).toContain("Poor connection");
    await kenji.focus();
    await page.keyboard.press("Enter");
    await page.getByTestId("stats-5").waitFor();
    expect(await page.getByTestId("plot-bitrate").count()).toBe(2);
    await expectAccessible(page, "several people");
    await shot(page, "plots-several");
  });
});
