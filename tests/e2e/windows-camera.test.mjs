// Emulated V4L2: a window with two cameras, switched and unplugged in a call.

import assert from 'node:assert/strict';
import test from 'node:test';
import { id, REMOTE } from '../lab/app.mjs';
import { emulateCameras, USUAL_CAMERA } from '../lab/cameras.mjs';
import { Lab } from '../lab/lab.mjs';
import { eventually } from '../lab/process.mjs';
import { stepsOf } from '../lab/steps.mjs';
import { assertMoves, callByCode, openTwo } from '../lab/window-call.mjs';

test('emulated V4L2: cameras are switched and unplugged in a call, which goes on', { timeout: 150_000 }, async (t) => {
  const lab = new Lab(t);
  const cameras = await emulateCameras(lab, [USUAL_CAMERA, { ...USUAL_CAMERA, name: 'Second Camera' }]);
  const { ann: { app: ann }, ben: { app: ben } } = await openTwo(lab, {
    ann: { cameras, settings: { camera: 'default' } },
    ben: { settings: { camera: 'pattern' } },
  });
  await callByCode(ann, ben);
  const step = stepsOf(t, [ann, ben]);

  await step('the first camera is seen by the other side', async () => {
    assert.match(cameras.streaming(0), /640x360 30/, 'opened as the settings say');
    await assertMoves(ben, REMOTE);
  });

  await step('the other camera is chosen in the menu', async () => {
    await ann.click('camera-menu');
    await choose(ann, 'Second Camera');
    await eventually(() => cameras.streaming(1) && !cameras.streaming(0), 8000, 'the second camera streams, the first is released');
    await ann.display.key('Escape');
    await assertMoves(ben, REMOTE);
  });

  await step('camera off releases it', async () => {
    await ann.click('camera');
    await eventually(() => !cameras.streaming(1), 5000, 'the camera is released');
    await ann.click('camera');
    await eventually(() => cameras.streaming(1), 8000, 'the camera streams again');
    await assertMoves(ben, REMOTE);
  });

  await step('pulling the plug leaves the call with sound', async () => {
    cameras.unplug(1);
    await eventually(async () => (await ben.session.attribute(REMOTE, 'data-showing')) === 'false', 10_000, 'no frozen picture');
    await ann.screenshot('call-camera-lost-light');
    await ann.shown('hang-up');
    assert.equal(await ann.session.find(id('ended')), undefined, 'the call goes on');
  });

  await step('plugged in again, it is seen again without a click', async () => {
    cameras.unplug(1, false);
    await eventually(() => cameras.streaming(1), 8000, 'the camera streams again');
    await assertMoves(ben, REMOTE);
  });
});

/** Clicks the entry of an open menu that has this text. */
async function choose(app, text) {
  const place = await eventually(() => app.session.run(`
    const entry = [...document.querySelectorAll('[role^="menuitem"], [role="option"], [role="radio"]')]
      .find((e) => e.innerText.includes(arguments[0]) && e.getBoundingClientRect().height > 0);
    if (!entry) return null;
    const { x, y, width, height } = entry.getBoundingClientRect();
    return { x: x + width / 2, y: y + height / 2 };`, text), 5000, `a menu entry "${text}"`);
  const origin = await app.geometry();
  await app.display.click(origin.x + place.x, origin.y + place.y);
}
