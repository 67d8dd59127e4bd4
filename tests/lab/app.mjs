// Ahoy's window as a fixture: started through WebKitWebDriver, found on the screen, driven by
// clicks, and looked at through the pixels that the X server shows.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Lab } from './lab.mjs';
import { binary, folder } from './paths.mjs';
import { eventually, sleep, tree } from './process.mjs';
import { readStampFromScreen } from './stamp.mjs';
import { openSession } from './webdriver.mjs';

/** How often the screen is looked at for stamps, and how long at one place, in Hz and ms. */
const GRAB_HZ = 12;
const LOOK_MS = 2500;

/** Selects an element of the interface by its `data-testid`; CSS selectors stay as they are. */
export const id = (name) => (name.startsWith('[') ? name : `[data-testid="${name}"]`);

/** The picture of somebody else in the call. */
export const REMOTE = '[data-testid^="remote-picture-"]:not(canvas)';

/**
 * Opens a window. `display` is required; `sound`, `cameras`: fixtures whose devices it sees;
 * `settings`: what the settings file holds; `box`: where the window goes; `name`: for files;
 * `config`: a settings folder that exists already.
 */
export async function openApp(lab, { display, sound, cameras, settings, box, name = 'app', config, profile, env = {} }) {
  config ??= folder(lab.file(`${name}-config`));
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
      const [width, height] = await this.session.run('return [innerWidth, innerHeight]');
      return width === box.width && height === box.height;
    }, 20_000, `${this.name}'s page is ${box.width}x${box.height}`);
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

  /** Types into an empty field with the real keyboard; fails when other letters stand there then. */
  async type(testId, text) {
    await this.click(testId);
    await this.display.type(text);
    const value = () => this.session.run('return document.querySelector(arguments[0]).value', id(testId));
    await eventually(async () => (await value()) === text, 20_000, `"${text}" stands in "${testId}"`)
      .catch(async (error) => {
        throw new Error(`${error.message}; there stands "${await value()}"`);
      });
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
   * Where on the screen the picture of an element's canvas lies, as `{ x, y, width }`: the interface
   * shows either all of a 16:9 picture or fills the tile and cuts it, a little more at the bottom.
   */
  async picturePlaces(testId) {
    const box = await this.session.box(`${id(testId)} canvas, canvas${id(testId)}`);
    if (!box || box.width < 64 || box.height < 36) return [];
    const origin = await this.geometry();
    return [Math.max, Math.min].map((choose) => {
      const scale = choose(box.width / 16, box.height / 9);
      return {
        x: origin.x + box.x + (box.width - 16 * scale) / 2,
        y: origin.y + box.y + (box.height - 9 * scale) * (choose === Math.max ? 0.4 : 0.5),
        width: 16 * scale,
        clip: { x: origin.x + box.x, y: origin.y + box.y, width: box.width, height: box.height },
      };
    });
  }

  /**
   * Frame numbers that the screen shows inside an element at `count` moments, `everyMs` apart;
   * `undefined` where no stamp is readable. Waits for the first readable one; fails when there is
   * none within `timeoutMs`. `mirrored`: as a self-view is shown.
   */
  async stamps(testId, { mirrored = false, count = 3, everyMs = 300, timeoutMs = 15_000 } = {}) {
    const end = performance.now() + timeoutMs;
    for (;;) {
      // Anew each time: the element may have come or moved in the meantime.
      const places = await this.picturePlaces(testId);
      const seen = places.length > 0 ? await this.#watchStamps(places, mirrored, count, everyMs) : [];
      if (seen.length > 0) return seen;
      if (performance.now() > end) throw new Error(`${this.name} shows no stamp in "${testId}" within ${timeoutMs} ms`);
      await sleep(200);
    }
  }

  /** The stamps at one of these places; none when none is readable for [`LOOK_MS`]. */
  async #watchStamps(places, mirrored, count, everyMs) {
    const { clip } = places[0];
    const seen = [];
    let due = 0;
    const lab = new Lab();
    try {
      const strip = { ...clip, height: Math.min(clip.height, clip.width / 8) };
      const grabber = this.display.watch(lab, strip, GRAB_HZ, (screen, at) => {
        if (at < due || seen.length >= count) return;
        const stamp = places.map((place) => readStampFromScreen(screen,
          { x: place.x - screen.left, y: place.y - screen.top, width: place.width }, mirrored))
          .find((found) => found !== undefined);
        if (stamp === undefined && seen.length === 0) return;
        seen.push(stamp);
        due = at + everyMs;
      });
      const end = performance.now() + LOOK_MS;
      while (seen.length < count && (seen.length > 0 || performance.now() < end)) {
        if (!grabber.alive) throw new Error(grabber.describe());
        await sleep(20);
      }
    } finally {
      await lab.close();
    }
    return seen;
  }

  /** What the call has measured so far, one entry per other participant, by webrtc-stats type and kind. */
  async stats() {
    const text = await this.session.runAsync(`const done = arguments[arguments.length - 1];
      window.__TAURI_INTERNALS__.invoke('get_stats').then((report) => done(JSON.stringify(report)), (error) => done(String(error)));`);
    return JSON.parse(text).participants;
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
