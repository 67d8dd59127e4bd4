// Calls one after the other on this computer, each from beginning to end: server, code, path,
// encryption, sound and picture. AHOY_PROFILE=release node bench/setups.mjs [HOW MANY]

import { spread } from './figures.mjs';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';

const count = Number(process.argv[2] ?? 200);
if (!Number.isInteger(count) || count < 1) throw new Error('how many calls?');

/** Long enough for a sample of the figures, which are taken every second. */
const SECONDS = 2;
const LIMIT_MS = 30_000;

/** One call; what each side saw, in ms since it knew of the other. */
async function setUp(url) {
  const lab = new Lab();
  try {
    const options = (name) => ({
      server: url, name, camera: 'pattern', microphone: 'tone', resolution: '320x180@15', stats: lab.file(`${name}.json`),
    });
    const caller = startPeer(lab, 'call', options('ann'));
    const joiner = startPeer(lab, 'join', { ...options('ben'), code: await caller.code(LIMIT_MS), duration: `${SECONDS}s` });
    const ends = [await joiner.end(LIMIT_MS), await caller.end(LIMIT_MS)];
    const sides = [caller, joiner].map((peer) => seen(peer.stats()));
    const complete = ({ connected, picture, packets }) => connected !== undefined && picture !== undefined && packets > 0;
    if (ends.some((code) => code !== 0) || !sides.every(complete)) {
      throw new Error(`exit codes ${ends}\n${caller.program.describe()}\n${joiner.program.describe()}`);
    }
    return sides;
  } finally {
    await lab.close();
  }
}

function seen({ call, participants: [other] }) {
  const after = (moment) => (moment === undefined ? undefined : moment - call.metMs);
  return {
    connected: after(call.connectedMs),
    picture: after(call.firstPictureMs),
    packets: other?.['inbound-rtp:audio']?.packetsReceived ?? 0,
  };
}

const lab = new Lab();
const worst = { connected: [], picture: [] };
let failed = 0;
try {
  const { url } = await startServer(lab);
  for (let number = 1; number <= count; number += 1) {
    try {
      const sides = await setUp(url);
      for (const what of Object.keys(worst)) worst[what].push(Math.max(...sides.map((side) => side[what])));
    } catch (error) {
      failed += 1;
      console.error(`call ${number}: ${error.message}`);
    }
  }
} finally {
  await lab.close();
}

const figure = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return `${spread(sorted)}, worst ${Math.round(sorted.at(-1))} ms`;
};
console.log(`${count - failed} of ${count} calls came about`);
if (failed < count) {
  console.log(`connected, p50/p95 of the slower side: ${figure(worst.connected)}`);
  console.log(`first picture: ${figure(worst.picture)}`);
}
process.exitCode = failed > 0 ? 1 : 0;
