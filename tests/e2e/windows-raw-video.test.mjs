// A web view that cannot decode VP8, because the system has no decoder for it, gets the pictures
// decoded: they come over a socket on this computer.

import assert from 'node:assert/strict';
import test from 'node:test';
import { REMOTE } from '../lab/app.mjs';
import { Lab } from '../lab/lab.mjs';
import { stepsOf } from '../lab/steps.mjs';
import { assertMoves, callByCode, openTwo } from '../lab/window-call.mjs';

/** Hides GStreamer's VP8 decoders from WebKit, as if their package were not installed. */
const WITHOUT_VP8 = { GST_PLUGIN_FEATURE_RANK: 'vp8dec:NONE,vavp8dec:NONE,vaapivp8dec:NONE,avdec_vp8:NONE,v4l2slvp8dec:NONE' };

test('a web view without a VP8 decoder shows the call all the same', { timeout: 180_000 }, async (t) => {
  const { ann: { app: ann }, ben: { app: ben } } = await openTwo(new Lab(t), { ben: { env: WITHOUT_VP8 } });
  const step = stepsOf(t, [ann, ben]);

  await step('one window decodes VP8, the other cannot', async () => {
    const decodes = `const done = arguments[arguments.length - 1];
      if (typeof VideoDecoder === 'undefined') done(false);
      else VideoDecoder.isConfigSupported({ codec: 'vp8', codedWidth: 1280, codedHeight: 720 })
        .then(({ supported }) => done(supported), () => done(false));`;
    assert.equal(await ann.session.runAsync(decodes), true);
    assert.equal(await ben.session.runAsync(decodes), false);
  });

  await step('its self-view moves before the call', async () => {
    await ben.shown('home');
    await assertMoves(ben, 'self-view');
  });

  await step('in the call every picture moves in both windows', async (t) => {
    await callByCode(ann, ben);
    for (const app of [ann, ben]) {
      const remote = await assertMoves(app, REMOTE);
      const self = await assertMoves(app, 'self-view');
      t.diagnostic(`${app.name}: remote ${remote.join(' ')}, self ${self.join(' ')}`);
    }
    await ben.screenshot('call-raw-video-dark');
  });
});
