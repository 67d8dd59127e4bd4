// W3C WebDriver, as much of it as these tests need, spoken directly to WebKitWebDriver.

import { freePort, listens } from './lab.mjs';
import { eventually } from './process.mjs';

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'; // WebDriver section 12.1
/** A command that takes longer than this has hung, in ms. */
const COMMAND_MS = 20_000;

/** Starts a driver and through it the program `binary` with `env`; returns the session. */
export async function openSession(lab, binary, env, args = []) {
  const port = await freePort();
  // Tauri allows automation of its web view only with this variable.
  const driver = lab.start('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'],
    { env: { ...env, TAURI_WEBVIEW_AUTOMATION: 'true' }, label: 'WebKitWebDriver' });
  await eventually(() => listens(port), 20_000, 'WebKitWebDriver listens');
  const address = `http://127.0.0.1:${port}`;
  const created = await command(`${address}/session`, 'POST',
    { capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': { binary, args } } } }, 60_000)
    .catch((error) => {
      throw new Error(`${error.message}\n${driver.describe()}`);
    });
  const session = new Session(`${address}/session/${created.sessionId}`, driver);
  lab.defer(() => session.end());
  return session;
}

async function command(url, method, body, timeoutMs = COMMAND_MS) {
  const response = await fetch(url, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const { value } = await response.json();
  if (!response.ok) {
    const error = new Error(`${value.error}: ${value.message}`);
    error.code = value.error;
    throw error;
  }
  return value;
}

class Session {
  constructor(url, driver) {
    this.url = url;
    this.driver = driver;
  }

  #post(path, body = {}) {
    return command(this.url + path, 'POST', body);
  }

  /** Runs the text of a function's body in the page; returns its result. */
  run(script, ...args) {
    return this.#post('/execute/sync', { script, args });
  }

  /** Runs a function body that ends by calling its last argument with the result. */
  runAsync(script, ...args) {
    return this.#post('/execute/async', { script, args });
  }

  /** The first element that a CSS selector finds, or `undefined`. */
  async find(selector) {
    try {
      return (await this.#post('/element', { using: 'css selector', value: selector }))[ELEMENT];
    } catch (error) {
      if (error.code === 'no such element') return undefined;
      throw error;
    }
  }

  /** Waits for an element that is really shown (has an area); returns its id. */
  async shown(selector, timeoutMs = 10_000) {
    return eventually(async () => {
      const element = await this.find(selector);
      if (!element) return undefined;
      const box = await this.box(selector);
      return box && box.width > 0 && box.height > 0 ? element : undefined;
    }, timeoutMs, `"${selector}" is shown`);
  }

  /** Waits until no element matches or it has no area. */
  async hidden(selector, timeoutMs = 10_000) {
    await eventually(async () => {
      const box = await this.box(selector);
      return !box || box.width === 0 || box.height === 0;
    }, timeoutMs, `"${selector}" is gone`);
  }

  /** Clicks, as a user does: scrolled into view, at its centre, refused when something covers it. */
  async click(selector, timeoutMs) {
    const element = await this.shown(selector, timeoutMs);
    await this.#post(`/element/${element}/click`);
  }

  /** Types into an element. */
  async type(selector, text) {
    const element = await this.shown(selector);
    await this.#post(`/element/${element}/value`, { text });
  }

  /** Empties a field. */
  async clear(selector) {
    const element = await this.shown(selector);
    await this.#post(`/element/${element}/clear`);
  }

  /** Visible text of an element, or `undefined` without one. */
  text(selector) {
    return this.run('const e = document.querySelector(arguments[0]); return e ? e.innerText.trim() : null;', selector)
      .then((text) => text ?? undefined);
  }

  /** An attribute, or `undefined`. */
  attribute(selector, name) {
    return this.run('const e = document.querySelector(arguments[0]); return e ? e.getAttribute(arguments[1]) : null;',
      selector, name).then((value) => value ?? undefined);
  }

  /** Waits until an element's text matches; returns the match. */
  textMatches(selector, pattern, timeoutMs = 10_000) {
    return eventually(async () => (await this.text(selector))?.match(pattern), timeoutMs,
      `text of "${selector}" matches ${pattern}`);
  }

  /** Where an element is in the page, in CSS pixels, or `undefined`. */
  box(selector) {
    return this.run(`const e = document.querySelector(arguments[0]);
      if (!e) return null;
      const { x, y, width, height } = e.getBoundingClientRect();
      return { x, y, width, height };`, selector).then((box) => box ?? undefined);
  }

  /** Page title. */
  title() {
    return command(`${this.url}/title`, 'GET');
  }

  /** Ends the session, which closes the program; an already closed one is fine. */
  async end() {
    await command(this.url, 'DELETE', undefined, 8000).catch(() => {});
  }
}
