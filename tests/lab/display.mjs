// A screen of its own: Xvfb, the openbox window manager and a D-Bus session, real mouse clicks
// and keys (xdotool), and pixels read back from the X server.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { capture, check, eventually, run, start } from './process.mjs';
import { folder, screenshotFolder } from './paths.mjs';

/**
 * Windows without title bar and border: a window is where it was placed, to the pixel. Alt+F4
 * closes one, as on most desktops.
 */
const OPENBOX = `<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <theme><keepBorder>no</keepBorder></theme>
  <keyboard><keybind key="A-F4"><action name="Close"/></keybind></keyboard>
  <applications><application class="*"><decor>no</decor></application></applications>
</openbox_config>
`;

/** Starts a screen of `width` by `height` pixels that is stopped with the lab. */
export async function startDisplay(lab, { width = 1920, height = 1080 } = {}) {
  const server = lab.start('Xvfb',
    ['-displayfd', '1', '-screen', '0', `${width}x${height}x24`, '-nolisten', 'tcp', '-noreset'], { label: 'Xvfb' });
  const number = (await server.output(/^(\d+)\n/, 10_000))[1];
  const bus = lab.start('dbus-daemon', ['--session', '--nofork', '--print-address=1'], { label: 'dbus-daemon' });
  const address = (await bus.output(/^(\S+)\n/, 20_000))[1];
  const env = {
    DISPLAY: `:${number}`,
    DBUS_SESSION_BUS_ADDRESS: address,
    WAYLAND_DISPLAY: undefined,
    XAUTHORITY: undefined,
    NO_AT_BRIDGE: '1', // no accessibility bus in the lab; without this GTK waits for it
    LIBGL_ALWAYS_SOFTWARE: '1',
  };
  const configuration = lab.file('openbox.xml');
  writeFileSync(configuration, OPENBOX);
  lab.start('openbox', ['--sm-disable', '--config-file', configuration], { env, label: 'openbox' });
  const display = new Display(env, width, height);
  await eventually(() => display.hasWindowManager(), 8000, 'openbox manages the screen');
  return display;
}

class Display {
  constructor(env, width, height) {
    /** Environment for programs that are to open windows here. */
    this.env = env;
    this.width = width;
    this.height = height;
  }

  async hasWindowManager() {
    // Fails until a window manager has announced itself on the root window.
    return (await run('xdotool', ['get_desktop'], { env: this.env, timeoutMs: 20_000 })).code === 0;
  }

  async #xdotool(...args) {
    return (await check('xdotool', args.map(String), { env: this.env, timeoutMs: 8000 })).stdout.trim();
  }

  /** Visible windows whose title matches (a regular expression for xdotool), as X ids. */
  async windows(title) {
    const found = await run('xdotool', ['search', '--onlyvisible', '--name', title], { env: this.env, timeoutMs: 8000 });
    return found.stdout.split('\n').filter(Boolean);
  }

  /** Visible windows of a set of processes. */
  async windowsOf(pids) {
    const ids = [];
    for (const pid of pids) {
      const found = await run('xdotool', ['search', '--onlyvisible', '--pid', String(pid)], { env: this.env, timeoutMs: 8000 });
      ids.push(...found.stdout.split('\n').filter(Boolean));
    }
    const areas = await Promise.all(ids.map(async (id) => ({ id, box: await this.geometry(id) })));
    return areas.filter(({ box }) => box.width > 100 && box.height > 100).map(({ id }) => id);
  }

  /** Where a window's content is on the screen. */
  async geometry(id) {
    const text = await this.#xdotool('getwindowgeometry', '--shell', id);
    const value = (name) => Number(text.match(new RegExp(`^${name}=(-?\\d+)$`, 'm'))[1]);
    return { x: value('X'), y: value('Y'), width: value('WIDTH'), height: value('HEIGHT') };
  }

  /** Moves and resizes a window; waits until the size is really so. */
  async place(id, { x, y, width, height }) {
    await this.#xdotool('windowmove', id, x, y);
    await this.#xdotool('windowsize', id, width, height);
    await eventually(async () => {
      const box = await this.geometry(id);
      return box.width === width && box.height === height;
    }, 20_000, `window is ${width}x${height}`);
  }

  /** A real click of the first button at a place on the screen. */
  async click(x, y) {
    await this.move(x, y);
    await this.#xdotool('click', 1);
  }

  /** Moves the mouse. */
  async move(x, y) {
    await this.#xdotool('mousemove', Math.round(x), Math.round(y));
  }

  /** Real keys to the window with the focus: xdotool's names, such as `ctrl+shift+h`. */
  async key(...names) {
    await this.#xdotool('key', '--delay', 30, ...names);
  }

  /** Types text to the window with the focus. */
  async type(text) {
    await this.#xdotool('type', '--delay', 20, text);
  }

  /** Brings a window to the front and gives it the keyboard. */
  async focus(id) {
    await this.#xdotool('windowactivate', '--sync', id);
  }

  /** Pixels of a part of the screen, as shown now: `{ width, height, data }`, RGB. */
  async pixels(box = { x: 0, y: 0, width: this.width, height: this.height }) {
    const left = Math.max(0, Math.floor(box.x));
    const top = Math.max(0, Math.floor(box.y));
    const width = Math.min(this.width - left, Math.ceil(box.width));
    const height = Math.min(this.height - top, Math.ceil(box.height));
    // Not ImageMagick's import: that one fetches the whole screen each time, which costs the windows dear.
    const data = await capture('ffmpeg', ['-loglevel', 'error', '-f', 'x11grab', '-draw_mouse', '0',
      '-video_size', `${width}x${height}`, '-i', `${this.env.DISPLAY}+${left},${top}`, '-frames:v', '1',
      '-pix_fmt', 'rgb24', '-f', 'rawvideo', 'pipe:1'], { env: this.env, timeoutMs: 10_000 });
    if (data.length !== width * height * 3) throw new Error(`screenshot has ${data.length} bytes, not ${width}x${height}x3`);
    return { width, height, data, left, top };
  }

  /**
   * Watches a part of the screen: calls `seen(screen, at)` up to `rate` times a second with its
   * pixels (RGB) and the moment of their arrival in Unix ms. Returns the grabbing program.
   */
  watch(lab, box, rate, seen) {
    const [left, top] = [Math.max(0, Math.floor(box.x)), Math.max(0, Math.floor(box.y))];
    const [width, height] = [Math.min(this.width - left, Math.ceil(box.width)), Math.min(this.height - top, Math.ceil(box.height))];
    const size = width * height * 3;
    let waiting = Buffer.alloc(0);
    const grabber = start('ffmpeg', ['-loglevel', 'error', '-fflags', 'nobuffer', '-f', 'x11grab', '-draw_mouse', '0',
      '-framerate', String(rate), '-video_size', `${width}x${height}`, '-i', `${this.env.DISPLAY}+${left},${top}`,
      '-pix_fmt', 'rgb24', '-f', 'rawvideo', '-flush_packets', '1', 'pipe:1'], {
      env: this.env,
      label: 'ffmpeg x11grab',
      binaryOutput(chunk) {
        const at = performance.timeOrigin + performance.now();
        waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
        while (waiting.length >= size) {
          seen({ width, height, data: waiting.subarray(0, size), left, top }, at);
          waiting = waiting.subarray(size);
        }
      },
    });
    lab.defer(() => grabber.stop());
    return grabber;
  }

  /** Saves a part of the screen as PNG in target/screenshots, for people. Returns the path. */
  async save(name, box) {
    const file = path.join(folder(screenshotFolder), `${name}.png`);
    const crop = box
      ? ['-crop', `${Math.round(box.width)}x${Math.round(box.height)}+${Math.round(box.x)}+${Math.round(box.y)}`, '+repage']
      : [];
    await check('import', ['-silent', '-window', 'root', ...crop, file], { env: this.env, timeoutMs: 15_000 });
    return file;
  }
}

/** How many clearly different colours a part of the screen has: 1 is an empty window. */
export function colours(screen) {
  const seen = new Set();
  for (let at = 0; at + 2 < screen.data.length; at += 3 * 7) {
    seen.add(((screen.data[at] >> 4) << 8) | ((screen.data[at + 1] >> 4) << 4) | (screen.data[at + 2] >> 4));
  }
  return seen.size;
}

/** Mean difference (0..255) between two screenshots of the same size. */
export function difference(one, other) {
  if (one.data.length !== other.data.length) return 255;
  let sum = 0;
  for (let at = 0; at < one.data.length; at += 1) sum += Math.abs(one.data[at] - other.data[at]);
  return sum / one.data.length;
}
