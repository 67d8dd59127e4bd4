// Computers whose clocks are years off, and in opposite directions, call each other like any.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { library } from '../lab/library.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { assertSmooth } from '../lab/smooth.mjs';

const YEARS = 365 * 24 * 3600;

test('a call between clocks that are 30 years slow and 20 years fast', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const wrong = { LD_PRELOAD: await library('clock.c') };
  const common = { server: server.url, camera: 'pattern', microphone: 'tone', resolution: '320x180@15' };
  const ann = startPeer(lab, 'call', { ...common, name: 'ann', duration: '12s', stats: lab.file('ann.json'),
    env: { ...wrong, AHOY_LAB_CLOCK: String(-30 * YEARS) } });
  const ben = startPeer(lab, 'join', { ...common, name: 'ben', code: await ann.code(), duration: '10s', stats: lab.file('ben.json'),
    env: { ...wrong, AHOY_LAB_CLOCK: String(20 * YEARS) } });
  for (const side of [ben, ann]) assert.equal(await side.end(), 0, side.program.describe());
  for (const [name, side] of Object.entries({ ann, ben })) {
    const [other] = side.stats().participants;
    const { 'inbound-rtp:video': video, 'inbound-rtp:audio': audio } = other.stats ?? other;
    assert.ok(video.framesDecoded > 60, `${name} decoded ${video.framesDecoded} frames`);
    assertSmooth(video, name);
    assert.ok(audio.packetsReceived > 200, `${name} got ${audio.packetsReceived} packets of sound`);
  }
});
