// The network of the bench, without sockets.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Path } from './network.mjs';

const passed = (path, count, everyMs, bytes = 972) =>
  Array.from({ length: count }, (_, index) => [index * everyMs, path.pass(bytes, index * everyMs)]);

test('a clear path lets everything through at once', () => {
  for (const [at, out] of passed(new Path({}, 1), 100, 10)) assert.equal(out, at);
});

test('a bottleneck delays and then drops', () => {
  // 1000 bytes with headers every 10 ms are 800 kbit/s.
  const outs = passed(new Path({ kbps: 400, queueMs: 100 }, 1), 200, 10);
  const through = outs.filter(([, out]) => out !== undefined);
  assert.ok(Math.abs(through.length - 105) <= 6, `${through.length} of 200 got through`);
  assert.ok(through.every(([at, out]) => out - at <= 121), 'the queue is bounded');
});

test('loss is as often and in bursts as long as asked for', () => {
  for (const burst of [1, 3]) {
    const lost = passed(new Path({ loss: 0.2, burst }, 7), 20_000, 10).map(([, out]) => out === undefined);
    const share = lost.filter(Boolean).length / lost.length;
    const bursts = lost.filter((is, index) => is && !lost[index - 1]).length;
    const mean = lost.filter(Boolean).length / bursts;
    assert.ok(Math.abs(share - 0.2) < 0.02, `${share}`);
    assert.ok(Math.abs(mean - (burst === 1 ? 1.25 : 3)) < 0.25, `${mean} in a row`);
  }
});

test('jitter spreads the delay and keeps the order', () => {
  const outs = passed(new Path({ delayMs: 100, jitterMs: 25 }, 3), 1000, 10).map(([at, out]) => [out - at, out]);
  assert.ok(outs.every(([, out], index) => index === 0 || out >= outs[index - 1][1]));
  const delays = outs.map(([delay]) => delay);
  assert.ok(Math.min(...delays) < 80 && Math.max(...delays) > 120);
});

test('conditions change with time', () => {
  const path = new Path((seconds) => ({ delayMs: seconds < 1 ? 10 : 50 }), 1);
  const outs = passed(path, 200, 10);
  assert.equal(outs[50][1], 510);
  assert.equal(outs[150][1], 1550);
});
