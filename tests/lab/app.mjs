// Ahoy's window as a fixture: started through WebKitWebDriver, found on the screen, driven by
// clicks, and looked at through the pixels that the X server shows.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { binary, folder } from './paths.mjs';
import { eventually, sleep, tree } from './process.mjs';
import { readStampFromScreen } from './stamp.mjs';
import { openSession } from './webdriver.mjs';

/** Selects an element of the interface by its `data-testid`. */
export const id = (name) => `[data-testid="${name}"]`;

/**
 * Opens a window. `display` is required; `sound`, `cameras`: fixtures whose devices it sees;
 * `settings`: what the settings file holds; `box`: where the window goes; `name`: for files.
 */
export async function openApp(lab, { display, sound, cameras, settings, box, name = 'app', profile, env = {} }) {
  const config = folder(lab.file(`${name}-config`));
  if (settings) writeFileSync(path.join(config, 'settings.json'), JSON.stringify(settings));
  const session = await openSession(lab, binary('ahoy', profile), {
    HOME: lab.file(`${name}-home`),
    ...(sound?.env ?? {}),
    ...display.env,
    ...(cameras?.env ?? {}),
    AHOY_CONFIG_DIR: config,
    ...env,
  });
  const app = new App(session, display, config, name);
  await app.findWindow();
  if (box) await app.place(box);
  return app;
}

class App {
  constructor(session, display, config, name) {
    this.session = session;
    this.display = display;
    this.config = config;
    this.name = name;
  }

  /** Process id of the app itself. */
  get pid() {
    const pid = tree(this.session.driver.pid).find((candidate) => candidate !== this.session.driver.pid);
    if (pid === undefined) throw new Error(`${this.name} does not run\n${this.session.driver.describe()}`);
    return pid;
  }

  /** All its processes: the app's own and the web view's. */
  get pids() {
    return tree(this.pid);
  }

  async findWindow() {
    [this.window] = await eventually(async () => {
      const found = await this.display.windowsOf([this.pid]);
      return found.length > 0 ? found : undefined;
    }, 15_000, `${this.name} shows a window`);
  }

  /** Moves and resizes the window. */
  async place(box) {
    await this.display.place(this.window, box);
    await eventually(async () => {
      const width = await this.session.run('return innerWidth');
      return Math.abs(width - box.width) <= 2;
    }, 5000, `${this.name}'s page is ${box.width} wide`);
  }

  /** Where the page is on the screen. */
  geometry() {
    return this.display.geometry(this.window);
  }

  /** A real click with the mouse on the middle of an element. */
  async click(testId, timeoutMs) {
    const selector = id(testId);
    await this.session.shown(selector, timeoutMs);
    await this.session.run(`document.querySelector(arguments[0]).scrollIntoView({ block: 'nearest' })`, selector);
    const box = await this.session.box(selector);
    const origin = await this.geometry();
    await this.display.click(origin.x + box.x + box.width / 2, origin.y + box.y + box.height / 2);
  }

  /** Real keys to this window. */
  async key(...names) {
    await this.display.focus(this.window);
    await this.display.key(...names);
  }

  /** Types into a field with the real keyboard. */
  async type(testId, text) {
    await this.click(testId);
    await this.display.type(text);
  }

  /** Waits until an element is shown. */
  shown(testId, timeoutMs) {
    return this.session.shown(id(testId), timeoutMs);
  }

  /** Waits until an element is gone. */
  hidden(testId, timeoutMs) {
    return this.session.hidden(id(testId), timeoutMs);
  }

  /** Text of an element. */
  text(testId) {
    return this.session.text(id(testId));
  }

  /** Waits until the text of an element matches; returns the match. */
  textMatches(testId, pattern, timeoutMs) {
    return this.session.textMatches(id(testId), pattern, timeoutMs);
  }

  /** Everything that the page says, for messages and searches. */
  allText() {
    return this.session.run('return document.body.innerText');
  }

  /**
   * The frame number that the screen shows inside an element now (its canvas, when it has one),
   * or `undefined` when no stamp is readable there.
   */
  async stamp(testId) {
    const selector = await this.session.run(
      `const e = document.querySelector(arguments[0]);
       return !e ? null : e.matches('canvas,video') ? arguments[0] : e.querySelector('canvas,video') ? arguments[0] + ' :is(canvas,video)' : null`,
      id(testId));
    if (!selector) return undefined;
    const box = await this.session.pictureBox(selector);
    if (!box || box.width < 64) return undefined;
    const origin = await this.geometry();
    const row = box.width / 32;
    const left = Math.floor(origin.x + box.x);
    const top = Math.floor(origin.y + box.y);
    const screen = await this.display.pixels({ x: left, y: top, width: box.width + 2, height: row + 2 });
    return readStampFromScreen(screen, { x: origin.x + box.x - screen.left, y: origin.y + box.y - screen.top, width: box.width },
      box.mirrored);
  }

  /**
   * Frame numbers that the screen shows inside an element at `count` moments. Waits for the first
   * readable one; fails when there is none within `timeoutMs`.
   */
  async stamps(testId, { count = 3, everyMs = 300, timeoutMs = 15_000 } = {}) {
    const first = await eventually(async () => {
      const stamp = await this.stamp(testId);
      return stamp === undefined ? undefined : { stamp };
    }, timeoutMs, `${this.name} shows a stamp in "${testId}"`, 50);
    const seen = [first.stamp];
    while (seen.length < count) {
      await sleep(everyMs);
      seen.push(await this.stamp(testId));
    }
    return seen;
  }

  /** Saves the window as it is shown in target/screenshots. */
  async screenshot(name) {
    return this.display.save(name, await this.geometry());
  }

  /** The window as it is shown. */
  async pixels() {
    return this.display.pixels(await this.geometry());
  }
}
