// Two windows in a 720p30 call: from the camera's delivery of a frame to its pixels in the X server.

import { emulateCameras } from '../lab/cameras.mjs';
import { openApp, REMOTE } from '../lab/app.mjs';
import { startDisplay } from '../lab/display.mjs';
import { callByCode } from '../lab/window-call.mjs';
import { cpuSeconds, memory, sleep } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { speechLike, writeWav } from '../lab/sound.mjs';
import { readStampFromScreen } from '../lab/stamp.mjs';
import { number, spread } from './figures.mjs';

const SETTLE_MS = 8000;
const MEASURE_MS = 10_000;

/** Returns rows `[what, figure]`. */
export async function measureWindows(lab) {
  const display = await startDisplay(lab, { width: 2600, height: 860 });
  const apps = [];
  const cameras = [];
  for (const [index, name] of ['ann', 'ben'].entries()) {
    const sound = await startSound(lab, { name: `${name}-sound` });
    sound.speak(writeWav(lab.file(`${name}.wav`), speechLike(60)));
    cameras.push(await emulateCameras(lab, undefined, `${name}-cameras`));
    apps.push(await openApp(lab, {
      display, sound, cameras: cameras[index], name, profile: 'release', settings: { name },
      box: { x: 10 + index * 1290, y: 20, width: 1280, height: 800 },
    }));
  }
  const [ann, ben] = apps;
  await callByCode(ann, ben);
  await ben.stamps(REMOTE, { count: 1, timeoutMs: 20_000 });
  await sleep(SETTLE_MS);

  const places = await ben.picturePlaces(REMOTE);
  const { clip } = places[0];
  const shown = new Map();
  cameras[0].noteFrames(0);
  const strip = { ...clip, height: Math.min(clip.height, places[0].width / 24) };
  const grabber = display.watch(lab, strip, 50, (screen, at) => {
    for (const place of places) {
      const stamp = readStampFromScreen(screen, { x: place.x - screen.left, y: place.y - screen.top, width: place.width });
      if (stamp === undefined) continue;
      if (!shown.has(stamp)) shown.set(stamp, at);
      return;
    }
  });
  const before = apps.map((app) => cpuSeconds(app.pids));
  const startedAt = performance.now();
  await sleep(MEASURE_MS);
  const seconds = (performance.now() - startedAt) / 1000;
  const cores = apps.map((app, index) => (cpuSeconds(app.pids) - before[index]) / seconds);
  await grabber.stop();
  const delays = cameras[0].frames(0).filter(([frame]) => shown.has(frame))
    .map(([frame, at]) => shown.get(frame) - at).filter((delay) => delay > 0).sort((a, b) => a - b);
  const used = apps.map((app) => memory(app.pids));
  return [
    ['window → window: camera to X server p50/p95 (grabbed at 50 Hz)', spread(delays)],
    ['window → window: different pictures shown', `${number(shown.size / seconds)} a second`],
    ...['ann', 'ben'].map((name, index) => [`window ${name}: CPU of app and web view`, `${number(cores[index], 2)} cores`]),
    ...['ann', 'ben'].map((name, index) => [`window ${name}: memory`,
      `${number(used[index].pss, 0)} MB PSS, ${number(used[index].rss, 0)} MB RSS`]),
  ];
}
