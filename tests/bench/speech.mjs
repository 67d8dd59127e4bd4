// Recorded speech through whole calls behind bad networks: said into a real microphone, recorded
// from a real speaker, Ahoy and Chromium one after the other. PESQ and STOI of what arrived.
//
// AHOY_SPEECH names the recording (crates/audio/benches/receive/speech.sh makes one); python3 needs
// the packages pesq and pystoi. Nothing is done to the sound on either side, so that the network
// alone decides.

import path from 'node:path';
import { benchCall } from '../lab/bench-call.mjs';
import { repository } from '../lab/paths.mjs';
import { sleep, start } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { readWav, RATE, rms, writeWav } from '../lab/sound.mjs';
import { number } from './figures.mjs';

/** The network is good until the call has begun. */
const BEGINS_S = 4;
/** Until encoders and buffers have adapted to it. */
const SETTLE_MS = 10_000;
/** Longest way that is expected, in s. */
const MAX_DELAY = 2;

/** 20 ms each way, beside what is said. */
export const SPEECH_NETWORKS = {
  clean: {},
  loss5: { loss: 0.05 },
  loss10: { loss: 0.1 },
  loss20: { loss: 0.2 },
  loss30: { loss: 0.3 },
  loss40: { loss: 0.4 },
  burst10: { loss: 0.1, burst: 3 },
  burst20: { loss: 0.2, burst: 3 },
  far20: { loss: 0.2, delayMs: 80 },
  farburst20: { loss: 0.2, burst: 3, delayMs: 80 },
  jitter30: { jitterMs: 30, delayMs: 50 },
  jitter100: { jitterMs: 100, delayMs: 200 },
};

/** Returns rows `[what, figure]`. */
export async function measureSpeech(lab, names = Object.keys(SPEECH_NETWORKS)) {
  const spoken = process.env.AHOY_SPEECH;
  if (!spoken) throw new Error('AHOY_SPEECH must name a recording of speech, 48 kHz');
  const rows = [];
  for (const name of names) {
    for (const kind of (process.env.KINDS ?? 'ahoy,chromium').split(',')) {
      rows.push([`speech, ${name}: ${kind}`, await measure(lab, kind, name, spoken)]);
    }
  }
  return rows;
}

async function measure(lab, kind, name, spoken) {
  const conditions = { delayMs: 20, ...SPEECH_NETWORKS[name] };
  const here = await startSound(lab, { name: `${kind}-${name}-here` });
  const there = await startSound(lab, { name: `${kind}-${name}-there` });
  const { samples } = readWav(spoken);
  let heard;
  const sides = await benchCall(lab, {
    caller: kind, callee: kind, audio: 'unprocessed', video: '320x180@15', profile: 'release',
    env: { caller: here.env, callee: there.env },
    network: (seconds) => (seconds < BEGINS_S ? { delayMs: conditions.delayMs } : conditions),
    settleMs: 0,
    measureMs: 0,
    meanwhile: async () => {
      // The same talking before, so that everything has adapted when it counts.
      const before = here.speak(spoken);
      await sleep(SETTLE_MS);
      await before.stop();
      const recording = there.record(samples.length / RATE + MAX_DELAY);
      const player = here.speak(spoken);
      heard = await recording;
      await player.stop();
    },
  });
  const recorded = writeWav(lab.file(`${kind}-${name}.wav`), heard);
  const [pesq, stoi] = await score(lab, spoken, recorded);
  const { callee } = sides;
  const inbound = callee.stats.end['inbound-rtp:audio'];
  await Promise.all([here, there].map((sound) => sound.daemon.stop()));
  return [
    `PESQ ${number(pesq, 2)}`, `STOI ${number(stoi, 2)}`,
    `concealed ${number((100 * inbound.concealedSamples) / inbound.totalSamplesReceived)} %`,
    `jitter buffer ${number((1000 * inbound.jitterBufferDelay) / inbound.jitterBufferEmittedCount, 0)} ms`,
    `level ${number(rms(heard), 3)}`,
  ].join(', ');
}

/** PESQ and STOI of a recording whose beginning is looked for. */
export async function score(lab, spoken, recorded) {
  const script = path.join(repository, 'crates/audio/benches/receive/score.py');
  const program = start(process.env.PYTHON ?? 'python3', ['-c',
    `import runpy, io, sys; sys.stdin = io.StringIO(sys.argv[2]); runpy.run_path(sys.argv[1])`,
    script, `${spoken} ${recorded} find\n`], { label: 'score.py' });
  lab.defer(() => program.stop());
  const [, pesq, stoi] = await program.output(/^([\d.]+) ([\d.]+)$/m, 60_000);
  return [Number(pesq), Number(stoi)];
}
