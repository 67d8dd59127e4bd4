// Ahoy started twice on one computer, nothing configured: the second start opens a second window,
// and the two call each other. One settings folder, one sound server, as one person has them.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { openApp, REMOTE } from '../lab/app.mjs';
import { emulateCameras } from '../lab/cameras.mjs';
import { startDisplay } from '../lab/display.mjs';
import { Lab } from '../lab/lab.mjs';
import { folder } from '../lab/paths.mjs';
import { eventually } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { rms, speechLike, writeWav } from '../lab/sound.mjs';
import { stepsOf } from '../lab/steps.mjs';
import { assertMoves, callByCode } from '../lab/window-call.mjs';

test('a second start opens a second window, and the two call each other', { timeout: 120_000 }, async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 2600, height: 860 });
  const sound = await startSound(lab);
  const config = folder(lab.file('config'));
  const open = (name, index) => openApp(lab, { display, sound, config, name, cameras: cameras[index],
    box: { x: 10 + index * 1290, y: 30, width: 1280, height: 800 } });
  // A camera serves one program at a time: the second window has the machine's other one.
  const cameras = [await emulateCameras(lab, undefined, 'first-camera'), await emulateCameras(lab, undefined, 'second-camera')];
  const first = await open('first', 0);
  await first.shown('home');
  const second = await open('second', 1);
  await second.shown('home');
  const step = stepsOf(t, [first, second]);

  await step('both windows are there', () => {
    assert.notEqual(first.pid, second.pid);
    assert.notEqual(first.window, second.window);
    assert.ok(cameras[0].streaming(0) && cameras[1].streaming(0), 'each has its camera');
  });

  await step('the code of one, typed in the other, begins a call with pictures both ways', async () => {
    await callByCode(first, second);
    for (const app of [first, second]) await assertMoves(app, REMOTE);
    await second.screenshot('second-window');
  });

  await step('what is said into the microphone comes out of the speaker', async () => {
    assert.ok(rms(await sound.record(1)) < 0.001, 'silence before');
    // Both windows hear it and play it, a little apart: no tone, since two of one could cancel out.
    sound.speak(writeWav(lab.file('said.wav'), speechLike(30)));
    await eventually(async () => rms(await sound.record(1)) > 0.02, 10_000, 'sound from the speaker');
  });

  await step('hanging up in one ends it in the other, and the settings both use are whole', async () => {
    await first.click('hang-up');
    await second.shown('ended', 5000);
    for (const app of [first, second]) {
      await app.click('go-home');
      await eventually(async () => (await app.session.find('[data-testid="recent-call"]')) !== undefined, 5000,
        `${app.name} lists the call`);
    }
    const files = readdirSync(config).filter((file) => file.endsWith('.json'));
    assert.ok(files.length > 0, 'the calls are kept');
    for (const file of files) {
      assert.doesNotMatch(file, /broken/);
      JSON.parse(readFileSync(path.join(config, file), 'utf8'));
    }
  });
});
