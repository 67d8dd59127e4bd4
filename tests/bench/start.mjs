// From starting the program to a window that can be used: the "New call" button is painted.

import { binary, folder } from '../lab/paths.mjs';
import { startDisplay } from '../lab/display.mjs';
import { sleep, start } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { number } from './figures.mjs';

const RUNS = 5;
const TIMEOUT_MS = 15_000;
/** Colours of the primary button, light and dark. */
const LAMP = [[0xff, 0xbe, 0x3d], [0xff, 0xc2, 0x4d]];

/** Returns rows `[what, figure]`. */
export async function measureStart(lab) {
  const display = await startDisplay(lab, { width: 1400, height: 900 });
  const sound = await startSound(lab);
  const times = [];
  for (let run = 0; run < RUNS; run += 1) times.push(await once(lab, display, sound, run));
  const [first, ...others] = times;
  others.sort((a, b) => a - b);
  return [
    ['start to usable window, first', `${number(first, 0)} ms`],
    [`start to usable window, median of ${others.length} further`, `${number(others[Math.floor(others.length / 2)], 0)} ms`],
  ];
}

async function once(lab, display, sound, run) {
  let painted;
  const grabber = display.watch(lab, { x: 0, y: 0, width: display.width, height: display.height }, 50, (screen, at) => {
    if (painted === undefined && hasButton(screen)) painted = at;
  });
  await sleep(700); // the grabber runs
  const startedAt = performance.timeOrigin + performance.now();
  const app = start(binary('ahoy', 'release'), [], {
    env: { ...sound.env, ...display.env, AHOY_CONFIG_DIR: folder(lab.file(`start-${run}`)) },
  });
  lab.defer(() => app.stop());
  const until = performance.now() + TIMEOUT_MS;
  while (painted === undefined && performance.now() < until) await sleep(10);
  await app.stop();
  await grabber.stop();
  if (painted === undefined) throw new Error(`no "New call" button within ${TIMEOUT_MS} ms\n${app.describe()}`);
  return painted - startedAt;
}

function hasButton({ data }) {
  let found = 0;
  for (let at = 0; at + 2 < data.length; at += 3 * 5) {
    for (const [red, green, blue] of LAMP) {
      if (Math.abs(data[at] - red) < 4 && Math.abs(data[at + 1] - green) < 4 && Math.abs(data[at + 2] - blue) < 4) found += 1;
    }
  }
  return found > 300;
}
