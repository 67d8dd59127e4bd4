// The pictures of the documentation, from real calls: `npm run screenshots --prefix tests`, or some
// of them by name. Needs release binaries:
//
//   cargo build --release -p ahoy-peer -p ahoy-server -p ahoy --features ahoy/custom-protocol
//
// They are left in docs/screenshots.

import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { openApp, REMOTE } from './lab/app.mjs';
import { startDisplay } from './lab/display.mjs';
import { Lab } from './lab/lab.mjs';
import { startLine } from './lab/network.mjs';
import { repository } from './lab/paths.mjs';
import { startPeer, startServer } from './lab/peer.mjs';
import { portrait } from './lab/portrait.mjs';
import { sleep } from './lab/process.mjs';
import { startSound } from './lab/pulse.mjs';
import { speechLike, writeWav } from './lab/sound.mjs';
import { startTurn } from './lab/turn.mjs';
import { joinWith, openTwo, readCode } from './lab/window-call.mjs';

const profile = 'release';
/** How long a call runs before it is shown: pictures are sharp and levels are up by then. */
const SETTLED_MS = 6000;
/** Until the plots of the last minute have something to show. */
const PLOTTED_MS = 35_000;
/** An upload that carries 360 lines; the rest of the line is fast. */
const SLOW_UPLOAD = { up: { kbps: 700, delayMs: 20 }, down: { kbps: 8000, delayMs: 20 } };

const PICTURES = { call, slowUpload };

/** Two windows: home, waiting, call. */
async function call(lab) {
  const voice = said(lab);
  // As for anybody who has changed nothing.
  const settings = { processing: undefined };
  const { ann, ben } = await openTwo(lab, {
    profile,
    settings,
    ann: { tone: undefined, settings: { camera: `file:${portrait('ann')}` } },
    ben: { tone: undefined, settings: { camera: `file:${portrait('ben')}` } },
  });
  for (const { sound } of [ann, ben]) sound.speak(voice);
  await ann.app.shown('home');
  await sleep(SETTLED_MS);
  await keep(ann.app, 'home-light');
  await ann.app.click('new-call');
  const code = await readCode(ann.app);
  await sleep(1000);
  await keep(ann.app, 'waiting-light');
  await joinWith(ben.app, code);
  await ben.app.shown(REMOTE, 15_000);
  await ben.app.textMatches('connection-state', /Good connection/, 60_000);
  await sleep(SETTLED_MS);
  await keep(ben.app, 'call-dark');
}

/** A window whose upload is slow, everything else as it is everywhere: what it says, and its figures. */
async function slowUpload(lab) {
  const server = await startServer(lab, [], { profile });
  const turn = await startTurn(lab);
  const line = await startLine(lab, turn.port, SLOW_UPLOAD);
  const voice = said(lab);
  const display = await startDisplay(lab, { width: 1300, height: 860 });
  const sound = await startSound(lab);
  sound.speak(voice);
  const ann = startPeer(lab, 'call', {
    profile, server: server.url, name: 'Ann', camera: `file:${portrait('ann')}`, microphone: `file:${voice}`,
    env: turn.env, args: ['--ice-server', turn.at().url],
  });
  const ben = await openApp(lab, {
    display, sound, profile, name: 'ben',
    settings: {
      name: 'Ben', theme: 'dark', server: server.url, camera: `file:${portrait('ben')}`,
      iceServers: [turn.at(line.port)], alwaysRelay: true,
    },
    box: { x: 10, y: 30, width: 1280, height: 800 },
  });
  await ben.shown('home');
  await sleep(SETTLED_MS);
  await joinWith(ben, await ann.code());
  await ben.shown(REMOTE, 20_000);
  await ben.textMatches('connection-state', /Your upload is slow: picture reduced to 360p/, 60_000);
  await sleep(SETTLED_MS);
  await keep(ben, 'slow-upload-dark');
  await ben.click('stats-toggle');
  await ben.shown('stats-panel');
  await sleep(PLOTTED_MS);
  await keep(ben, 'stats-dark');
}

/** Four minutes of talking in a quiet room: with pure silence between the words, nothing tells them from noise. */
function said(lab) {
  const once = speechLike(10).map((sample) => sample + 0.0006 * (Math.random() - 0.5));
  const often = new Float32Array(once.length * 24);
  for (let at = 0; at < often.length; at += once.length) often.set(once, at);
  return writeWav(lab.file('said.wav'), often);
}

/** Saves a window as it is shown, with the mouse out of the way. */
async function keep(app, name) {
  await app.display.move(0, 0);
  await sleep(500);
  const file = path.join(repository, 'docs/screenshots', `${name}.png`);
  copyFileSync(await app.screenshot(name), file);
  console.log(file);
}

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !PICTURES[name]);
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; there are ${Object.keys(PICTURES).join(', ')}`);
  process.exit(2);
}
for (const name of chosen.length > 0 ? chosen : Object.keys(PICTURES)) {
  const lab = new Lab();
  try {
    await PICTURES[name](lab);
  } finally {
    await lab.close();
  }
}
