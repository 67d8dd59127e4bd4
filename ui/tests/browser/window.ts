// What the browser specs share: a Chromium, a page that fails on any error, and axe.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import type { Fake } from "../../src/fake/fake";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const SHOTS = process.env["AHOY_SCREENSHOTS"] ?? "tests/browser/screenshots";
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

declare global {
  interface Window {
    ahoyFake?: Fake;
  }
}

export interface Opened {
  page: Page;
}

export interface OpenOptions {
  width?: number;
  height?: number;
  forcedColors?: "active";
  reducedMotion?: "reduce";
  /** Time stands still until the test moves it by `page.clock`. */
  clock?: boolean;
}

let browser: Browser;
const pages: { page: Page; errors: string[] }[] = [];

/** Call once per spec file. */
export function useBrowser(): void {
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ARGUMENTS });
    mkdirSync(SHOTS, { recursive: true });
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    const errors = pages.flatMap((one) => one.errors);
    for (const { page } of pages.splice(0)) await page.close();
    expect(errors, "errors on the page").toEqual([]);
  });
}

/** `scenario`: as in src/fake/fake.ts. */
export async function open(scenario: string, { width = 1280, height = 800, forcedColors, reducedMotion, clock = false }: OpenOptions = {}): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height }, forcedColors: forcedColors ?? null, reducedMotion: reducedMotion ?? null });
  page.setDefaultTimeout(10_000);
  const errors: string[] = [];
  pages.push({ page, errors });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" || message.text().includes("Content Security Policy")) errors.push(message.text());
  });
  if (clock) await page.clock.install();
  await page.goto(`${inject("address")}/?fake=${scenario}`);
  await page.locator("[data-testid=home], [data-testid=lobby], [data-testid=waiting], [data-testid=call], [data-testid=ended]").first().waitFor();
  await page.evaluate(() => document.fonts.ready);
  return { page };
}

/** Every rule that axe has. */
export async function expectAccessible(page: Page, name: string): Promise<void> {
  // Animations that run in would be measured half transparent.
  await page.waitForTimeout(200);
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: typeof import("axe-core") };
    const { violations, passes } = await axe.run(document, { resultTypes: ["violations", "passes"] });
    return {
      passes: passes.length,
      violations: violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? node.all[0]?.message ?? ""}`).join(" | ")}`),
    };
  });
  expect(found.violations, name).toEqual([]);
  expect(found.passes, `${name}: axe has looked at something`).toBeGreaterThan(10);
}

/** Nothing is wider than the window. */
export async function expectNoSidewaysScroll(page: Page, name: string): Promise<void> {
  const wide = await page.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    const scrolls = [...document.querySelectorAll<HTMLElement>("*")].filter((element) => {
      const { overflowX } = getComputedStyle(element);
      return element.scrollWidth > element.clientWidth + 1 && (overflowX === "auto" || overflowX === "scroll") && element.clientWidth > 0 && !element.closest("table, input");
    });
    const beyond = [...document.querySelectorAll<HTMLElement>("button, input, h1, h2, p, [role=tab]")].filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width > 0 && !element.closest(".visually-hidden") && element.offsetParent !== null && (box.right > limit + 1 || box.left < -1);
    });
    return [...scrolls, ...beyond].map((element) => `${element.tagName}.${element.className} ${element.dataset["testid"] ?? ""}`);
  });
  expect(wide, name).toEqual([]);
}

export async function shot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

export { expect };
