// A window's program is killed in a call, and it is the one that runs the embedded server: the
// other still knows within 5 s, and stays usable.

import test from 'node:test';
import { REMOTE } from '../lab/app.mjs';
import { Lab } from '../lab/lab.mjs';
import { assertMoves, callByCode, openTwo } from '../lab/window-call.mjs';

test('when one window is killed, the other knows within 5 s and can call again', { timeout: 120_000 }, async (t) => {
  const lab = new Lab(t);
  const { ann: { app: ann }, ben: { app: ben } } = await openTwo(lab, { settings: { camera: 'pattern' } });
  await callByCode(ann, ben);
  await assertMoves(ben, REMOTE);
  const at = performance.now();
  process.kill(ann.pid, 'SIGKILL');
  await ben.shown('ended', 5000);
  t.diagnostic(`known after ${Math.round(performance.now() - at)} ms`);
  await ben.click('go-home');
  await ben.click('new-call');
  await ben.shown('code-display', 10_000);
});
