// A headset that is unplugged and plugged in again in the middle of a call: another microphone takes
// over, both sides are told, and it is used again when it is back.

import assert from 'node:assert/strict';
import test from 'node:test';
import { REMOTE } from '../lab/app.mjs';
import { Lab } from '../lab/lab.mjs';
import { binary } from '../lab/paths.mjs';
import { check, eventually } from '../lab/process.mjs';
import { MICROPHONE_NAME } from '../lab/pulse.mjs';
import { tone, writeWav } from '../lab/sound.mjs';
import { stepsOf } from '../lab/steps.mjs';
import { assertHears, callByCode, openTwo } from '../lab/window-call.mjs';

/** Settings in which the first of two microphones is chosen. */
async function withHeadset(sound) {
  const listed = await check(binary('ahoy-peer'), ['devices', '--json'], { env: sound.env });
  const { microphones } = JSON.parse(listed.stdout);
  const headset = microphones.find(({ label }) => label === MICROPHONE_NAME);
  assert.ok(headset, `no "${MICROPHONE_NAME}" among ${listed.stdout}`);
  return { microphone: `device:${headset.id}` };
}

test('a headset that is unplugged in a call is replaced, and used again when it is back', { timeout: 180_000 }, async (t) => {
  const lab = new Lab(t);
  const { ann: { app: ann, sound: annSound }, ben: { app: ben, sound: benSound } } = await openTwo(lab, {
    ann: { microphones: 2, settings: withHeadset },
  });
  annSound.speak(writeWav(lab.file('desk.wav'), tone(1500, 240, 0.3)), 2);
  const step = stepsOf(t, [ann, ben]);

  await step('the headset is heard', async () => {
    await callByCode(ann, ben);
    await ben.shown(REMOTE, 15_000);
    await assertHears('Ben', benSound, 1000);
  });

  await step('unplugged: both are told, and the other microphone is heard', async () => {
    await annSound.unplugMicrophone();
    const told = async (app, text) => eventually(async () => (await app.allText()).includes(text), 3000, `${app.name} is told "${text}"`);
    await Promise.all([told(ben, 'Ann’s microphone was unplugged'), told(ann, `${MICROPHONE_NAME} was unplugged`)]);
    await ann.screenshot('headset-unplugged-here');
    await ben.screenshot('headset-unplugged-there');
    await assertHears('Ben', benSound, 1500);
  });

  await step('plugged in again: it is used again', async () => {
    await annSound.plugMicrophone();
    await eventually(async () => /Lab_Microphone is back/.test(await ann.allText()), 8000, 'Ann is told');
    await assertHears('Ben', benSound, 1000);
  });

  await step('the call has gone on all the time', async () => {
    await Promise.all([ann, ben].map((app) => app.shown('hang-up', 1000)));
  });
});
