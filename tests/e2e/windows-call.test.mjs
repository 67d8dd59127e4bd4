// The main job: two windows, one clicks "New call", the other types the code, and the two see and
// hear each other. Everything is read from the screen and from the speakers.

import assert from 'node:assert/strict';
import test from 'node:test';
import { id, REMOTE } from '../lab/app.mjs';
import { colours } from '../lab/display.mjs';
import { Lab } from '../lab/lab.mjs';
import { eventually, sleep } from '../lab/process.mjs';
import { RATE, rms } from '../lab/sound.mjs';
import { stepsOf } from '../lab/steps.mjs';
import { assertHears, assertMoves, callByCode, joinWith, openTwo, readCode } from '../lab/window-call.mjs';

/** How long the other side may take to know that somebody left, in ms. */
const KNOWS_MS = 5000;

test('two windows call each other', { timeout: 240_000 }, async (t) => {
  const lab = new Lab(t);
  const { ann: { app: ann, sound: annSound }, ben: { app: ben, sound: benSound } } = await openTwo(lab);
  const step = stepsOf(t, [ann, ben]);

  await step('home shows what the camera sees, before any call', async () => {
    for (const app of [ann, ben]) {
      await app.shown('home');
      await assertMoves(app, 'self-view');
    }
    await ann.screenshot('home-light');
    await ben.screenshot('home-dark');
  });

  await step('home shows the microphone\'s level', async () => {
    await eventually(async () => Number(await ann.session.attribute(id('level-meter'), 'aria-valuenow')) > 0, 8000, 'a level');
  });

  await step('"New call" shows a code, and typing it in the other window joins', async () => {
    await ann.click('new-call');
    const code = await readCode(ann);
    assert.match(code, /^\d+-[a-z]+-[a-z]+$/);
    await ann.screenshot('waiting-light');
    await joinWith(ben, code.toUpperCase().replaceAll('-', ' '));
    for (const app of [ann, ben]) await app.shown(REMOTE, 15_000);
  });

  await step('both pictures and both self-views move', async (t) => {
    for (const app of [ann, ben]) {
      const remote = await assertMoves(app, REMOTE);
      const self = await assertMoves(app, 'self-view');
      t.diagnostic(`${app.name}: remote ${remote.join(' ')}, self ${self.join(' ')}`);
    }
    await ann.screenshot('call-light');
    await ben.screenshot('call-dark');
    assert.ok(colours(await ann.pixels()) > 50);
  });

  await step('both hear each other', async (t) => {
    const heard = await Promise.all([assertHears('Ann', annSound, 700), assertHears('Ben', benSound, 1000)]);
    t.diagnostic(`Ann: ${heard[0]}; Ben: ${heard[1]}`);
  });

  await step('the figures agree: pictures and sound are received on both sides', async (t) => {
    for (const app of [ann, ben]) {
      const [other, ...more] = await app.stats();
      assert.equal(more.length, 0);
      const { 'inbound-rtp:video': video, 'inbound-rtp:audio': audio } = other;
      // Over the whole call (webrtc-stats, totalAudioEnergy); audioLevel is only that of this moment.
      const level = Math.sqrt((audio.totalAudioEnergy * RATE) / audio.totalSamplesReceived);
      t.diagnostic(`${app.name}: ${video.framesReceived} frames of ${video.frameWidth}x${video.frameHeight}, `
        + `${video.framesPerSecond.toFixed(1)} a second, ${video.freezeCount} freezes, ${video.packetsLost} packets lost; `
        + `audio level ${level.toFixed(3)}, ${audio.concealedSamples} of ${audio.totalSamplesReceived} samples concealed`);
      assert.ok(video.framesReceived > 30 && video.frameWidth === 640);
      assert.ok(level > 0.05 && audio.concealedSamples < audio.totalSamplesReceived * 0.1);
    }
  });

  await step('mute silences, and the key M unmutes', async () => {
    await ann.click('mute');
    await eventually(async () => (await ann.session.attribute(id('mute'), 'aria-pressed')) === 'true', 3000, 'shown as muted');
    await eventually(async () => rms(await benSound.record(0.5)) < 0.002, 5000, 'Ben hears nothing');
    await ann.key('m');
    await assertHears('Ben', benSound, 1000);
  });

  await step('camera off shows the initial on the other side, camera on the picture', async () => {
    await ann.click('camera');
    const showing = () => ben.session.attribute(REMOTE, 'data-showing');
    await eventually(async () => (await showing()) === 'false', 5000, 'no picture of Ann');
    assert.match(await ben.session.text(REMOTE), /A/);
    await ben.screenshot('call-camera-off-dark');
    await ann.click('camera');
    await eventually(async () => (await showing()) === 'true', 8000, 'a picture of Ann');
    await assertMoves(ben, REMOTE);
  });

  await step('hanging up ends the call on both sides', async (t) => {
    const at = performance.now();
    await ann.key('ctrl+shift+h');
    await ben.shown('ended', KNOWS_MS);
    t.diagnostic(`Ben knew after ${Math.round(performance.now() - at)} ms`);
    await ann.shown('ended', KNOWS_MS);
    await ben.screenshot('ended-dark');
  });

  await step('the next call needs no restart', async () => {
    for (const app of [ann, ben]) {
      await app.click('go-home');
      await app.shown('home');
    }
    await callByCode(ben, ann);
    for (const app of [ann, ben]) await assertMoves(app, REMOTE);
  });

  await step('closing one window ends the call for the other within 5 s', async (t) => {
    await ben.key('alt+F4');
    await ben.shown('closing-dialog');
    await ben.screenshot('closing-dark');
    const at = performance.now();
    await ben.click('close-window');
    await ann.shown('ended', KNOWS_MS);
    t.diagnostic(`Ann knew after ${Math.round(performance.now() - at)} ms`);
    await sleep(200);
    await ann.screenshot('ended-light');
  });
});
