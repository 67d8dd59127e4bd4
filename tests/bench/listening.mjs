// What a person hears in a call between two windows: recorded speech said into one's microphone and
// recorded from the other's speaker; and how much of it comes back when the other one's open speaker
// is heard by the microphone beside it. AHOY_SPEECH names the recording, see speech.mjs.

import { openTwo, callByCode } from '../lab/window-call.mjs';
import { sleep } from '../lab/process.mjs';
import { readWav, RATE, rms, writeWav } from '../lab/sound.mjs';
import { REMOTE } from '../lab/app.mjs';
import { number } from './figures.mjs';
import { score } from './speech.mjs';

/** Until echo cancellation and gain have settled. */
const SETTLE_MS = 12_000;
/** Longest way that is expected, in s. */
const MAX_DELAY = 1;
/** How loud the open speaker is at the microphone beside it: as a share of what it plays. */
const ECHO_VOLUME = 0.5;

const decibels = (level) => number(20 * Math.log10(Math.max(level, 1e-6)), 1);

/** Returns rows `[what, figure]`. */
export async function measureListening(lab) {
  const spoken = process.env.AHOY_SPEECH;
  if (!spoken) throw new Error('AHOY_SPEECH must name a recording of speech, 48 kHz');
  const { samples } = readWav(spoken);
  const processing = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, originalSound: false };
  const { ann, ben } = await openTwo(lab, {
    profile: 'release', settings: { processing }, ann: { tone: undefined }, ben: { tone: undefined },
  });
  await ben.sound.openSpeaker(ECHO_VOLUME);
  await callByCode(ann.app, ben.app);
  await ben.app.shown(REMOTE, 15_000);
  const before = ann.sound.speak(spoken);
  await sleep(SETTLE_MS);
  await before.stop();
  const begin = await soundOf(ben.app);
  const seconds = samples.length / RATE + MAX_DELAY;
  const recordings = Promise.all([ben.sound.record(seconds), ann.sound.record(seconds)]);
  const player = ann.sound.speak(spoken);
  const [heard, returned] = await recordings;
  await player.stop();
  const end = await soundOf(ben.app);
  const [pesq, stoi] = await score(lab, spoken, writeWav(lab.file('heard.wav'), heard));
  const grown = (member) => end[member] - begin[member];
  return [
    ['windows: speech, heard by the other', [
      `PESQ ${number(pesq, 2)}`, `STOI ${number(stoi, 2)}`, `said at ${decibels(rms(samples))} dBFS, heard at ${decibels(rms(heard))}`,
      `concealed ${number((100 * grown('concealedSamples')) / grown('totalSamplesReceived'))} %`,
    ].join(', ')],
    ['windows: its echo, heard by the speaker', [
      `open speaker at ${decibels(rms(heard) * ECHO_VOLUME)} dBFS in the microphone`,
      `comes back at ${decibels(rms(returned))} dBFS`,
    ].join(', ')],
  ];
}

/** What a window has received of the other's sound so far. */
async function soundOf(app) {
  const [other] = await app.stats();
  return other['inbound-rtp:audio'];
}
