// The bench: calls that are really made on this machine, now, and Chromium beside them for
// comparison. Prints a table (Markdown). Needs release binaries:
//
//   cargo build --release -p ahoy-peer -p ahoy-server -p ahoy --features ahoy/custom-protocol
//   node tests/bench/run.mjs [peers] [chromium] [mixed] [mouth-to-ear] [networks] [speech] [sound] [fidelity] [listening] [windows] [start] [size]

import { cpus, loadavg } from 'node:os';
import { Lab } from '../lab/lab.mjs';
import { measureFidelity } from './fidelity.mjs';
import { measureListening } from './listening.mjs';
import { measureMouthToEar } from './mouth-to-ear.mjs';
import { measureNetworks } from './networks.mjs';
import { measurePair } from './pair.mjs';
import { measureSize } from './size.mjs';
import { measureSoundThreads } from './sound-threads.mjs';
import { measureSpeech } from './speech.mjs';
import { measureStart } from './start.mjs';
import { measureWindows } from './windows.mjs';

const PARTS = {
  peers: () => withLab((lab) => measurePair(lab, 'ahoy', 'ahoy')),
  chromium: () => withLab((lab) => measurePair(lab, 'chromium', 'chromium')),
  mixed: () => withLab((lab) => measurePair(lab, 'ahoy', 'chromium')),
  'mouth-to-ear': () => withLab(measureMouthToEar),
  networks: () => withLab((lab) => measureNetworks(lab, process.env.NETWORKS?.split(','))),
  speech: () => withLab((lab) => measureSpeech(lab, process.env.NETWORKS?.split(','))),
  sound: () => withLab(measureSoundThreads),
  fidelity: () => withLab(measureFidelity),
  listening: () => withLab(measureListening),
  windows: () => withLab(measureWindows),
  start: () => withLab(measureStart),
  size: async () => measureSize(),
};

async function withLab(action) {
  const lab = new Lab();
  try {
    return await action(lab);
  } finally {
    await lab.close();
  }
}

const load = () => loadavg().map((value) => value.toFixed(1)).join(' ');
const chosen = process.argv.slice(2);
const unknown = chosen.filter((part) => !PARTS[part]);
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}

console.log(`${cpus().length} × ${cpus()[0].model}, load average before: ${load()}\n`);
console.log('| what | figure | load |\n|---|---|---|');
let failed = false;
for (const part of chosen.length > 0 ? chosen : Object.keys(PARTS)) {
  try {
    for (const [what, figure] of await PARTS[part]()) console.log(`| ${what} | ${figure} | ${load().split(' ')[0]} |`);
  } catch (error) {
    failed = true;
    console.log(`| ${part} | failed: ${error.message.split('\n')[0]} | ${load().split(' ')[0]} |`);
    console.error(error.message);
  }
}
process.exit(failed ? 1 : 0);
