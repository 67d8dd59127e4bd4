// Ahoy calls Chromium and is called by it: two independent implementations have to agree.

import assert from 'node:assert/strict';
import test from 'node:test';
import { benchCall, glassToGlass, percentile } from '../lab/bench-call.mjs';
import { Lab } from '../lab/lab.mjs';
import { assertSmooth, longestGap } from '../lab/smooth.mjs';

/** Time between the marks, in s. */
const SECONDS = 8;

for (const [caller, callee] of [['ahoy', 'chromium'], ['chromium', 'ahoy']]) {
  test(`${caller} calls ${callee}`, { timeout: 90_000 }, async (t) => {
    const lab = new Lab(t);
    const sides = await benchCall(lab, { caller, callee, audio: 'pulse', settleMs: 3000, measureMs: SECONDS * 1000 });
    const [ahoy, chromium] = caller === 'ahoy' ? [sides.caller, sides.callee] : [sides.callee, sides.caller];
    assert.deepEqual(ahoy.errors, []);
    assert.deepEqual(chromium.errors, []);

    await t.test('Chromium decodes our pictures without freezing', () => {
      const decoded = chromium.grown('inbound-rtp:video', 'framesDecoded');
      const freezes = freezesOf(chromium);
      const delays = glassToGlass(ahoy, chromium);
      t.diagnostic(`Chromium: ${decoded} frames decoded in ${SECONDS} s, ${freezes.freezeCount} freezes, width `
        + `${chromium.stats.end['inbound-rtp:video'].frameWidth}, ${delays.length} stamps read, glass to glass `
        + `${Math.round(percentile(delays, 0.5))}/${Math.round(percentile(delays, 0.95))} ms`);
      assertSmooth(freezes, 'Chromium');
      assert.ok(decoded > SECONDS * 30 * 0.9, `${decoded} frames decoded`);
      assert.ok(delays.length > SECONDS * 30 * 0.7, `${delays.length} stamps read`);
    });
    await t.test('we decode Chromium\'s pictures', () => {
      const decoded = ahoy.grown('inbound-rtp:video', 'framesDecoded');
      const freezes = freezesOf(ahoy);
      const shown = ahoy.log.disp.filter(([number]) => number !== null && number !== undefined);
      t.diagnostic(`Ahoy: ${decoded} frames decoded, ${freezes.freezeCount} freezes, ${shown.length} stamps read, glass to glass `
        + `${Math.round(percentile(glassToGlass(chromium, ahoy), 0.5))} ms, longest gap ${longestGap(shown)}, `
        + `where they were made ${longestGap(chromium.log.cap)}`);
      assertSmooth(freezes, 'Ahoy');
      assert.ok(decoded > SECONDS * 30 * 0.9, `${decoded} frames decoded`);
      assert.ok(shown.length > SECONDS * 30 * 0.7);
      for (let at = 1; at < shown.length; at += 1) assert.ok(shown[at][0] > shown[at - 1][0], 'frame numbers increase');
    });
    await t.test('sound pulses arrive on both sides', () => {
      for (const [from, to] of [[ahoy, chromium], [chromium, ahoy]]) {
        assert.ok(from.log.audioGen.length >= SECONDS - 1, `${from.kind} sent ${from.log.audioGen.length} pulses`);
        assert.ok(to.log.audioDet.length >= SECONDS - 2, `${to.kind} heard ${to.log.audioDet.length} pulses`);
      }
    });
    await t.test('every figure of the contract is there', () => {
      for (const name of ['connected', 'firstFrame', ...(caller === 'ahoy' ? ['createOffer'] : [])]) {
        assert.ok(Math.abs(ahoy.events[name] - Date.now()) < 120_000, `event ${name}`);
      }
      for (const [entry, members] of Object.entries(MEMBERS)) {
        for (const member of members) assert.equal(typeof ahoy.stats.end[entry]?.[member], 'number', `${entry}.${member}`);
      }
      assert.ok(ahoy.ticks.length >= SECONDS - 2);
      assert.ok(ahoy.log.cap.length > SECONDS * 25);
      assert.equal(ahoy.byeExit.code, 0, 'bye ends it in good order');
    });
  });
}

/** The freezes of what a side received between the marks. */
const freezesOf = (side) => ({
  freezeCount: side.grown('inbound-rtp:video', 'freezeCount'),
  totalFreezesDuration: side.grown('inbound-rtp:video', 'totalFreezesDuration'),
});

const MEMBERS = {
  'outbound-rtp:video': ['framesEncoded', 'totalEncodeTime', 'bytesSent', 'qpSum', 'nackCount', 'pliCount'],
  'outbound-rtp:audio': ['bytesSent', 'packetsSent'],
  'inbound-rtp:video': ['framesDecoded', 'totalDecodeTime', 'jitterBufferDelay', 'jitterBufferEmittedCount', 'freezeCount',
    'totalFreezesDuration', 'packetsLost', 'bytesReceived'],
  'inbound-rtp:audio': ['concealedSamples', 'totalSamplesReceived', 'packetsLost', 'jitterBufferDelay'],
  pair: ['currentRoundTripTime'],
};
