// Three participants in one room: everybody receives everybody.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { assertSmooth } from '../lab/smooth.mjs';
import { amplitudeAt, readWav, tone, writeWav } from '../lab/sound.mjs';
import { clip } from '../lab/y4m.mjs';

test('three participants see and hear each other', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const tones = { ann: 600, ben: 900, cem: 1300 };
  const peer = (command, name, code, duration) => startPeer(lab, command, {
    name,
    code,
    server: server.url,
    camera: `file:${clip(lab, { width: 320, height: 180, frameRate: 15 })}`,
    microphone: `file:${writeWav(lab.file(`${name}.wav`), tone(tones[name], 2, 0.2))}`,
    speaker: `file:${lab.file(`${name}-heard.wav`)}`,
    resolution: '320x180@15',
    duration,
    stats: lab.file(`${name}.json`),
  });
  const ann = peer('call', 'ann', undefined, '11s');
  const code = await ann.code();
  const ben = peer('join', 'ben', code, '11s');
  const cem = peer('join', 'cem', code, '9s');
  for (const side of [cem, ben, ann]) assert.equal(await side.end(), 0, side.program.describe());
  for (const [name, side] of Object.entries({ ann, ben, cem })) {
    const others = side.stats().participants;
    assert.equal(others.length, 2, `${name} met ${others.length}`);
    for (const other of others) {
      const video = (other.stats ?? other)['inbound-rtp:video'];
      assert.ok(video.framesDecoded > 60, `${name} decoded ${video.framesDecoded} frames of one of them`);
      assertSmooth(video, name);
    }
    const { samples, rate } = readWav(lab.file(`${name}-heard.wav`));
    const middle = samples.subarray(rate * 4, rate * 7);
    const notch = (frequency) => amplitudeShare(middle, frequency, rate);
    for (const [speaker, frequency] of Object.entries(tones)) {
      if (speaker === name) assert.ok(notch(frequency) < 0.1, `${name} does not hear itself`);
      else assert.ok(notch(frequency) > 0.9, `${name} hears ${speaker} in ${notch(frequency)} of the time`);
    }
  }
});

/** Share of windows in which a tone of 0.05 or more is there, whatever else sounds. */
function amplitudeShare(samples, frequency, rate) {
  const size = rate / 10;
  let found = 0;
  let windows = 0;
  for (let at = 0; at + size <= samples.length; at += size, windows += 1) {
    if (amplitudeAt(samples.subarray(at, at + size), frequency, rate) > 0.05) found += 1;
  }
  return found / windows;
}
