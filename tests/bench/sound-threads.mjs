// What the sound of a call costs: time that the threads of microphone, processing and encoder,
// playout and sound server take on either side, while both speak and everything is switched on.

import { benchCall } from '../lab/bench-call.mjs';
import { sleep, threadSeconds } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { speechLike, writeWav } from '../lab/sound.mjs';
import { number } from './figures.mjs';

const SETTLE_MS = 4000;
const MEASURE_MS = 20_000;
/** As `ahoy-audio` names them; streams of a sound server have one each. */
const THREADS = ['audio-send', 'playout', 'sound-server'];

/** Returns rows `[what, figure]`. Without `AHOY_SPEECH` something that is like speech is said. */
export async function measureSoundThreads(lab) {
  const spoken = process.env.AHOY_SPEECH
    ?? writeWav(lab.file('speech.wav'), speechLike((SETTLE_MS + MEASURE_MS) / 1000 + 5));
  const sounds = {
    caller: await startSound(lab, { name: 'caller-sound' }),
    callee: await startSound(lab, { name: 'callee-sound' }),
  };
  const shares = {};
  await benchCall(lab, {
    caller: 'ahoy', callee: 'ahoy', audio: 'devices', video: '320x180@15', profile: 'release',
    env: { caller: sounds.caller.env, callee: sounds.callee.env },
    settleMs: 0,
    measureMs: 0,
    meanwhile: async (sides) => {
      const players = Object.values(sounds).map((sound) => sound.speak(spoken));
      await sleep(SETTLE_MS);
      const before = Object.values(sides).map((side) => threadSeconds(side.program.pid));
      const begun = performance.now();
      await sleep(MEASURE_MS);
      const seconds = (performance.now() - begun) / 1000;
      for (const [index, side] of Object.values(sides).entries()) {
        const after = threadSeconds(side.program.pid);
        shares[side.role] = THREADS.map((name) => (100 * (after[name] - before[index][name])) / seconds);
      }
      await Promise.all(players.map((player) => player.stop()));
    },
  });
  return Object.entries(shares).map(([role, each]) => [
    `sound of the ${role}: ${THREADS.join(', ')}`,
    `${each.map((share) => `${number(share)} %`).join(', ')}: ${number(each.reduce((sum, share) => sum + share))} % of a core`,
  ]);
}
