// From a sound that reaches a microphone to the same sound leaving the other side's speaker, both
// real devices of a sound server, for two ahoy-peers and for two Chromiums.
//
// One stream goes at the same moment into the caller's microphone and to the left channel of the
// callee's speaker; what comes through the call is on both channels. Left minus right is therefore
// what was said, right is what was heard, and how far apart they are does not depend on the
// recording.

import { benchCall } from '../lab/bench-call.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { sleep } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { glidingVoice, RATE, writeWav } from '../lab/sound.mjs';
import { spread } from './figures.mjs';

const SETTLE_MS = 8000;
const MEASURE_S = 20;
/** Longest delay looked for, in s. */
const MAX_DELAY = 0.4;

/** Returns rows `[what, figure]`. */
export async function measureMouthToEar(lab) {
  return [
    ['ahoy → ahoy: mouth to ear p50/p95', spread(await throughPeers(lab))],
    ['chromium → chromium: mouth to ear p50/p95', spread(await throughChromium(lab))],
  ];
}

async function throughPeers(lab) {
  const sound = await startSound(lab, { name: 'peers-sound' });
  const server = await startServer(lab, [], { profile: 'release' });
  const common = { server: server.url, env: sound.env, profile: 'release', duration: '60s' };
  const caller = startPeer(lab, 'call', { ...common, microphone: 'default', name: 'Ann' });
  const callee = startPeer(lab, 'join', { ...common, code: await caller.code(), speaker: 'default', name: 'Ben' });
  const delays = await listen(lab, sound);
  await Promise.all([caller.program.stop(), callee.program.stop()]);
  return delays;
}

async function throughChromium(lab) {
  const sound = await startSound(lab, { name: 'chromium-sound' });
  let delays;
  await benchCall(lab, {
    caller: 'chromium', callee: 'chromium', audio: 'devices', video: '320x180@15', env: sound.env,
    settleMs: 0, measureMs: 0, meanwhile: async () => { delays = await listen(lab, sound); },
  });
  return delays;
}

/** Plays a voice to both ends; delays in ms, sorted, one per second. */
async function listen(lab, sound) {
  await sound.control('load-module', 'module-combine-sink', 'sink_name=both', 'slaves=feed1,speaker1',
    'channels=2', 'adjust_time=0');
  const voice = glidingVoice(SETTLE_MS / 1000 + MEASURE_S + 10);
  const silence = new Float32Array(voice.length);
  const player = lab.start('paplay', ['--device=both', writeWav(lab.file('gliding-voice.wav'), voice, silence)], { env: sound.env });
  await sleep(SETTLE_MS);
  const [left, right] = await sound.recordStereo(MEASURE_S);
  await player.stop();
  return delaysBetween(left.map((sample, index) => sample - right[index]), right).map((delay) => delay * 1000)
    .sort((a, b) => a - b);
}

/** How much later than in `said` each second of a voice is in `heard`, in s, where it is clear. */
export function delaysBetween(said, heard) {
  const delays = [];
  for (let at = 0; at + (1 + MAX_DELAY) * RATE < said.length; at += RATE) {
    const pattern = said.subarray(at, at + RATE);
    // First every quarter of a millisecond, then every sample around the best.
    const coarse = best(pattern, heard, at, 0, MAX_DELAY * RATE, RATE / 4000);
    const fine = best(pattern, heard, at, coarse.lag - RATE / 1000, coarse.lag + RATE / 1000, 2);
    if (fine.value > 0.3) delays.push(fine.lag / RATE);
  }
  return delays;
}

function best(pattern, samples, at, from, to, step) {
  let found = { value: 0, lag: 0 };
  for (let lag = Math.max(0, Math.round(from)); lag <= to; lag += step) {
    const value = correlation(samples, at + lag, pattern);
    if (value > found.value) found = { value, lag };
  }
  return found;
}

/** Normalised correlation of every fourth sample. */
function correlation(samples, at, pattern) {
  let product = 0;
  let energy = 0;
  let own = 0;
  for (let index = 0; index < pattern.length; index += 4) {
    const value = samples[at + index];
    product += value * pattern[index];
    energy += value * value;
    own += pattern[index] * pattern[index];
  }
  return energy > 0 && own > 0 ? product / Math.sqrt(energy * own) : 0;
}
