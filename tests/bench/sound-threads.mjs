// What the sound of a call costs: time that the threads of microphone, processing and encoder,
// playout and sound server take on either side, with everything switched on: while both speak
// without a pause, and while they take turns, with headsets and with open speakers.

import { benchCall } from '../lab/bench-call.mjs';
import { sleep, threadSeconds } from '../lab/process.mjs';
import { startSound } from '../lab/pulse.mjs';
import { RATE, readWav, speechLike, writeWav } from '../lab/sound.mjs';
import { number } from './figures.mjs';

const SETTLE_MS = 4000;
const MEASURE_MS = 20_000;
/** How long one speaks before it is the other's turn. */
const TURN_MS = 4000;
/** How loud a quiet room is, as amplitude: -60 dBFS. */
const ROOM = 0.001;
/** How loud an open speaker is at the microphone beside it: as a share of what it plays. */
const ECHO_SHARE = 0.5;
/** As `ahoy-audio` names them; streams of a sound server have one each. */
const THREADS = ['audio-send', 'playout', 'sound-server'];
const ROLES = ['caller', 'callee'];

/** Returns rows `[what, figure]`. Without `AHOY_SPEECH` something that is like speech is said. */
export async function measureSoundThreads(lab) {
  const seconds = (SETTLE_MS + MEASURE_MS) / 1000 + 5;
  const speech = process.env.AHOY_SPEECH ? readWav(process.env.AHOY_SPEECH).samples : speechLike(seconds);
  const turns = ROLES.map((_, first) => inTurns(speech.subarray(0, seconds * RATE), first));
  return [
    ...await measure(lab, 'both speak at once', [speech, speech], false),
    ...await measure(lab, 'a conversation', turns, false),
    ...await measure(lab, 'a conversation by open speakers', turns, true),
  ];
}

async function measure(lab, what, said, openSpeakers) {
  const name = what.replaceAll(' ', '-');
  const sounds = await Promise.all(ROLES.map((role) => startSound(lab, { name: `${name}-${role}` })));
  const files = said.map((samples, index) => writeWav(lab.file(`${name}-${index}.wav`), samples));
  if (openSpeakers) await Promise.all(sounds.map((sound) => sound.openSpeaker(ECHO_SHARE)));
  const shares = {};
  await benchCall(lab, {
    caller: 'ahoy', callee: 'ahoy', audio: 'devices', video: '320x180@15', profile: 'release',
    env: Object.fromEntries(ROLES.map((role, index) => [role, sounds[index].env])),
    settleMs: 0,
    measureMs: 0,
    meanwhile: async (sides) => {
      const players = sounds.map((sound, index) => sound.speak(files[index]));
      await sleep(SETTLE_MS);
      const before = Object.values(sides).map((side) => threadSeconds(side.program.pid));
      const begun = performance.now();
      await sleep(MEASURE_MS);
      const seconds = (performance.now() - begun) / 1000;
      for (const [index, side] of Object.values(sides).entries()) {
        const after = threadSeconds(side.program.pid);
        shares[side.role] = THREADS.map((thread) => (100 * (after[thread] - before[index][thread])) / seconds);
      }
      await Promise.all(players.map((player) => player.stop()));
    },
  });
  return Object.entries(shares).map(([role, each]) => [
    `${what}, sound of the ${role}: ${THREADS.join(', ')}`,
    `${each.map((share) => `${number(share)} %`).join(', ')}: ${number(each.reduce((sum, share) => sum + share))} % of a core`,
  ]);
}

/** Speech in every second turn, a quiet room in the others and below. `first` is 0 or 1. */
function inTurns(speech, first) {
  return speech.map((sample, index) => {
    const turn = Math.floor((1000 * index) / RATE / TURN_MS);
    const noise = ROOM * Math.sqrt(3) * (2 * Math.random() - 1);
    return noise + (turn % 2 === first ? sample : 0);
  });
}
