// A window's program is killed in a call: the other knows within 5 s and stays usable.

import assert from 'node:assert/strict';
import test from 'node:test';
import { REMOTE } from '../lab/app.mjs';
import { Lab } from '../lab/lab.mjs';
import { assertMoves, callByCode, openTwo, readCode } from '../lab/window-call.mjs';

/** How long the other side may take to know, in ms. */
const KNOWS_MS = 5000;

test('when the window that runs the server is killed, the other\'s call ends within 5 s', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  // Ann's window is the first: it runs the server that both use.
  const { ann: { app: ann }, ben: { app: ben } } = await openTwo(lab, { settings: { camera: 'pattern' } });
  await callByCode(ann, ben);
  await assertMoves(ben, REMOTE);
  const at = performance.now();
  process.kill(ann.pid, 'SIGKILL');
  await ben.shown('ended', KNOWS_MS);
  t.diagnostic(`known after ${Math.round(performance.now() - at)} ms`);
  await ben.click('go-home');
  await ben.click('new-call');
  await ben.shown('code-display', 10_000);
});

test('when the other window is killed, its place waits for it under the same code', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  const { ann: { app: ann }, ben: { app: ben } } = await openTwo(lab, { settings: { camera: 'pattern' } });
  const code = await callByCode(ann, ben);
  await assertMoves(ann, REMOTE);
  const at = performance.now();
  process.kill(ben.pid, 'SIGKILL');
  await ann.shown('code-display', KNOWS_MS);
  t.diagnostic(`known after ${Math.round(performance.now() - at)} ms`);
  assert.equal(await readCode(ann), code);
  assert.equal(await ann.session.find(REMOTE), undefined, 'no picture is left of Ben');
});
