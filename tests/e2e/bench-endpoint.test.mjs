// `ahoy-peer bench` refuses what its contract does not allow, and ends when its harness is gone.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { WebSocketServer } from 'ws';
import { freePort, Lab } from '../lab/lab.mjs';
import { binary } from '../lab/paths.mjs';
import { eventually, run } from '../lab/process.mjs';
import { clip } from '../lab/y4m.mjs';

const good = (lab) => ({
  BENCH_SIGNAL_URL: 'ws://127.0.0.1:1/ws?role=caller',
  BENCH_ROLE: 'caller',
  BENCH_CLIP: clip(lab, { width: 320, height: 180, frameRate: 15 }),
  BENCH_VIDEO: '320x180@15',
  BENCH_AUDIO: 'mic',
});

for (const [variable, value] of [
  ['BENCH_SIGNAL_URL', undefined], ['BENCH_SIGNAL_URL', 'nonsense'], ['BENCH_ROLE', undefined], ['BENCH_ROLE', 'both'],
  ['BENCH_CLIP', undefined], ['BENCH_CLIP', '/no/such/clip.y4m'], ['BENCH_VIDEO', 'large'], ['BENCH_AUDIO', 'loud'],
]) {
  test(`${variable}=${value ?? '(missing)'} is refused with exit code 2`, async (t) => {
    const { code, stderr } = await run(binary('ahoy-peer'), ['bench'], { env: { ...good(new Lab(t)), [variable]: value } });
    assert.equal(code, 2, stderr);
    assert.match(stderr, new RegExp(variable));
    assert.doesNotMatch(stderr, /panicked/);
  });
}

test('a lost WebSocket ends it with exit code 3 within 2 s', { timeout: 30_000 }, async (t) => {
  const lab = new Lab(t);
  const port = await freePort();
  const relay = new WebSocketServer({ port, host: '127.0.0.1' });
  lab.defer(() => relay.close());
  await once(relay, 'listening');
  let connected;
  relay.on('connection', (socket) => socket.on('message', () => (connected ??= socket)));
  const peer = lab.start(binary('ahoy-peer'), ['bench'],
    { env: { ...good(lab), BENCH_SIGNAL_URL: `ws://127.0.0.1:${port}/ws?role=caller` } });
  await eventually(() => connected || !peer.alive, 10_000, 'its first message').catch((error) => {
    throw new Error(`${error.message}\n${peer.describe()}`);
  });
  assert.ok(connected, peer.describe());
  connected.terminate();
  assert.equal((await peer.end(2000)).code, 3, peer.describe());
});
