// Two participants without a window call each other through a server: pictures and sound arrive.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { assertSmooth } from '../lab/smooth.mjs';
import { readWav, strongest, tone, toneShare, writeWav } from '../lab/sound.mjs';
import { clip, readClip } from '../lab/y4m.mjs';

/** How long the participants stay, in s. */
const SECONDS = 8;

test('two participants see and hear each other', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const peer = (command, name, frequency, code) => startPeer(lab, command, {
    name,
    code,
    server: server.url,
    camera: `file:${clip(lab, { width: 640, height: 360 })}`,
    microphone: `file:${writeWav(lab.file(`${name}.wav`), tone(frequency, 2, 0.3))}`,
    speaker: `file:${lab.file(`${name}-heard.wav`)}`,
    saveVideo: lab.file(`${name}-seen.y4m`),
    resolution: '640x360@30',
    duration: `${SECONDS}s`,
    stats: lab.file(`${name}.json`),
  });
  const ann = peer('call', 'ann', 1000);
  const ben = peer('join', 'ben', 700, await ann.code());
  assert.equal(await ben.end(), 0, ben.program.describe());
  assert.equal(await ann.end(), 0, ann.program.describe());

  for (const [name, heard, own, side] of [['ann', 700, 1000, ann], ['ben', 1000, 700, ben]]) {
    await t.test(`${name} saw increasing frame numbers`, () => checkPictures(lab.file(`${name}-seen.y4m`), t));
    await t.test(`${name} heard the other's tone and not the own one`, () => {
      const { samples, rate } = readWav(lab.file(`${name}-heard.wav`));
      const middle = samples.subarray(rate * 2, rate * (SECONDS - 2));
      assert.ok(middle.length > rate * 3, `${samples.length / rate} s were recorded`);
      assert.ok(toneShare(middle, heard) > 0.95,
        `${heard} Hz in ${toneShare(middle, heard)} of it; strongest: ${JSON.stringify(strongest(middle))}`);
      assert.equal(toneShare(middle, own), 0);
    });
    await t.test(`${name}'s statistics`, () => checkStatistics(side.stats(), t));
  }
});

function checkPictures(file, t) {
  let frames = 0;
  let readable = 0;
  let backwards = 0;
  let last;
  const numbers = new Set();
  for (const { width, height, stamp } of readClip(file)) {
    frames += 1;
    assert.ok(width <= 640 && height <= 360 && width >= 160, `${width}x${height}`);
    if (stamp === undefined) continue;
    readable += 1;
    numbers.add(stamp);
    // The clip starts over after 90 frames.
    if (last !== undefined && (stamp - last + 90) % 90 > 45) backwards += 1;
    last = stamp;
  }
  t.diagnostic(`${frames} frames, ${readable} with a readable stamp, ${numbers.size} different numbers`);
  assert.ok(frames > SECONDS * 30 * 0.6, `${frames} frames were saved`);
  assert.ok(readable > frames * 0.95, `${readable} of ${frames} stamps are readable`);
  assert.ok(numbers.size > 80, `${numbers.size} of 90 numbers were seen`);
  assert.equal(backwards, 0, 'no picture is older than the one before');
}

function checkStatistics(report, t) {
  const participants = participantsOf(report);
  assert.equal(participants.length, 1);
  const [stats] = participants;
  const received = stats['inbound-rtp:video'];
  const heard = stats['inbound-rtp:audio'];
  const sent = stats['outbound-rtp:video'];
  t.diagnostic(`decoded ${received.framesDecoded}, freezes ${received.freezeCount}, lost ${received.packetsLost}, `
    + `concealed ${heard.concealedSamples} of ${heard.totalSamplesReceived}, sent ${sent.framesEncoded} frames, `
    + `RTT ${stats.pair?.currentRoundTripTime}`);
  assert.ok(received.framesDecoded > SECONDS * 30 * 0.6);
  assertSmooth(received, 'the received picture');
  assert.ok(received.bytesReceived > 50_000);
  assert.ok(sent.framesEncoded > SECONDS * 30 * 0.6);
  assert.ok(sent.totalEncodeTime > 0 && sent.bytesSent > 50_000);
  assert.ok(heard.totalSamplesReceived > 48_000 * (SECONDS - 3));
  assert.ok(heard.concealedSamples < heard.totalSamplesReceived * 0.05);
  assert.ok(stats['outbound-rtp:audio'].packetsSent > 50 * (SECONDS - 3));
  const rtt = stats.pair?.currentRoundTripTime ?? stats['remote-inbound-rtp:video']?.roundTripTime;
  assert.ok(rtt > 0 && rtt < 0.5, `round trip of ${rtt} s`);
}

function participantsOf(report) {
  return report.participants.map((participant) => participant.stats ?? participant);
}
