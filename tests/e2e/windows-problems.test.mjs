// What can be wrong is said in the window, at once and in words, and the window stays usable.

import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { id, openApp } from '../lab/app.mjs';
import { emulateCameras } from '../lab/cameras.mjs';
import { startDisplay } from '../lab/display.mjs';
import { freePort, Lab } from '../lab/lab.mjs';
import { folder } from '../lab/paths.mjs';
import { eventually } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { assertMoves } from '../lab/window-call.mjs';

const box = { x: 10, y: 30, width: 1280, height: 800 };

test('wrong codes, and a server that does not answer', { timeout: 120_000 }, async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 1300, height: 860 });
  const sound = await startSound(lab);
  const app = await openApp(lab, { display, sound, box, name: 'codes', settings: { name: 'Ann', theme: 'light', camera: 'pattern' } });
  const clear = async () => {
    await app.click('code-field');
    await display.key('ctrl+a', 'BackSpace');
  };

  for (const [typed, pattern] of [
    ['hello there', /number is missing/i],
    ['4821', /words are missing/i],
    ['4821 xqzzt wwqqv', /not one of Ahoy/i],
  ]) {
    await t.test(`"${typed}" is refused with a reason`, async () => {
      await clear();
      await app.type('code-field', typed);
      await display.key('Return');
      await app.textMatches('code-problem', pattern, 5000);
    });
  }

  await t.test('a code that no call has', async () => {
    await clear();
    await app.type('code-field', '999999 amber otter');
    await display.key('Return');
    await app.textMatches('call-error', /no call|code/i, 8000);
    assert.doesNotMatch(await app.text('call-error'), /amber|otter/i);
    await app.screenshot('error-unknown-room-light');
  });

  await t.test('a link to a server that does not answer', async () => {
    await clear();
    await app.type('code-field', `ahoy+ws://127.0.0.1:${await freePort()}/4821#amber-otter`);
    await display.key('Return');
    await app.textMatches('call-error', /server in the invite link does not answer/i, 15_000);
    await app.screenshot('error-server-light');
  });

  await t.test('afterwards a call can be begun', async () => {
    await clear();
    await app.click('new-call');
    await app.shown('code-display', 10_000);
  });
});

test('no camera, no microphone, no speaker: said on the home screen, and a call can be begun', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 1300, height: 860 });
  const sound = await startSound(lab, { speakers: 0, microphones: 0 });
  const cameras = await emulateCameras(lab, []);
  const app = await openApp(lab, { display, sound, cameras, box, name: 'nothing', settings: { name: 'Ann', theme: 'dark' } });
  await app.textMatches('camera-problem', /still call with sound/i, 10_000);
  await app.textMatches('row-microphone', /none found|no microphone/i, 10_000);
  await app.screenshot('home-no-devices-dark');
  await app.click('look-again');
  await app.textMatches('camera-problem', /still call with sound/i, 10_000);
  // Seen by itself: "look again" may be gone before anybody can click it.
  await cameras.add(0, { name: 'Lab Camera', modes: ['YUYV 1280x720 30'] });
  await assertMoves(app, 'self-view', { mirrored: true });
  await app.click('new-call');
  await app.shown('code-display', 10_000);
});

test('emulated V4L2: a busy camera is named as that, and is used once it is free', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 1300, height: 860 });
  const sound = await startSound(lab);
  const cameras = await emulateCameras(lab);
  cameras.occupy(0);
  const app = await openApp(lab, { display, sound, cameras, box, name: 'busy', settings: { name: 'Ann', theme: 'light' } });
  await eventually(async () => /another app/i.test(await app.allText()), 10_000, 'the busy camera is named');
  await app.screenshot('home-camera-busy-light');
  // By itself: "look again" may be gone before anybody can click it.
  cameras.occupy(0, false);
  await assertMoves(app, 'self-view', { mirrored: true });
});

test('a broken settings file is set aside with a message', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 1300, height: 860 });
  const sound = await startSound(lab);
  const config = folder(lab.file('broken-config'));
  writeFileSync(path.join(config, 'settings.json'), '{ "name": "Ann", ');
  const app = await openApp(lab, { display, sound, box, name: 'broken' });
  await app.shown('home');
  await app.textMatches('notice', /settings could not be understood/i, 5000);
  const kept = readdirSync(config).find((file) => /^settings\.broken/.test(file));
  assert.ok(kept, readdirSync(config).join());
  assert.ok((await app.text('notice')).includes(path.join(config, kept)), 'it says where the old file is');
  assert.doesNotMatch(await app.text('notice'), /EOF|line \d|column/i);
  await app.screenshot('notice-settings');
  assert.ok(await app.session.find(id('new-call')));
});
