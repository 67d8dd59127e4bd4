// The table of `docs/network.md` about a network that changes during a call. As root:
// node bench/moves.mjs [EVENT ...]

import { readFileSync } from 'node:fs';
import { Lab } from '../lab/lab.mjs';
import { Internet, MANAGEMENT } from '../lab/nat.mjs';
import { startCall } from '../lab/nat-call.mjs';
import { sleep } from '../lab/process.mjs';

/** How long the call goes on after the event, in s. */
const AFTER = 10;

/** What happens, and to which kinds of homes. */
const EVENTS = {
  nothing: { homes: ['portRestricted', 'portRestricted'], happen: async () => {} },
  address: { homes: ['portRestricted', 'portRestricted'], happen: async ({ homes: [home] }) => home.use('10.1.0.77') },
  addressSymmetric: { homes: ['symmetric', 'symmetric'], happen: async ({ homes: [home] }) => home.use('10.1.0.77') },
  addressTls: { homes: ['only443', 'portRestricted'], happen: async ({ homes: [home] }) => home.use('10.1.0.77') },
  family: {
    homes: ['dualStack', 'dualStack'],
    before: ({ homes: [home] }) => home.useV6(false),
    happen: async ({ homes: [home] }) => {
      home.computer.ip('-4', 'address', 'flush', 'dev', 'net');
      home.useV6(true);
    },
  },
  link5: { homes: ['portRestricted', 'portRestricted'], seconds: 5, happen: async ({ homes: [home] }) => away(home, 5) },
  link30: { homes: ['portRestricted', 'portRestricted'], seconds: 30, happen: async ({ homes: [home] }) => away(home, 30) },
  interface: {
    homes: ['portRestricted', 'portRestricted'],
    happen: async ({ homes: [home] }) => {
      home.computer.ip('link', 'add', 'another', 'type', 'veth', 'peer', 'name', 'nowhere');
      home.computer.ip('address', 'add', '10.99.0.1/24', 'dev', 'another');
      home.computer.ip('link', 'set', 'another', 'up');
    },
  },
  stopped8: { homes: ['portRestricted', 'portRestricted'], seconds: 8, happen: async (_, { caller }) => stopped(caller, 8) },
  stopped40: { homes: ['portRestricted', 'portRestricted'], seconds: 40, happen: async (_, { caller }) => stopped(caller, 40) },
  server: {
    homes: ['portRestricted', 'portRestricted'],
    seconds: 3,
    happen: async (internet) => {
      await internet.server.stop();
      await sleep(3000);
      internet.startServer();
    },
  },
};

async function away(home, seconds) {
  home.link(false);
  await sleep(seconds * 1000);
  home.link(true);
}

/** The program stands still as in a computer's sleep, and is woken. */
async function stopped(program, seconds) {
  program.signal('SIGSTOP');
  await sleep(seconds * 1000);
  program.signal('SIGCONT');
}

const wanted = process.argv.slice(2);
for (const name of wanted) if (!(name in EVENTS)) throw new Error(`no such event: ${name}; there are ${Object.keys(EVENTS).join(' ')}`);

console.log('| event | homes | frozen at A, s | frozen at B, s | paths at the end | pictures at A / B |');
console.log('|---|---|---|---|---|---|');
for (const name of wanted.length > 0 ? wanted : Object.keys(EVENTS)) {
  const { homes, before, happen, seconds = 0 } = EVENTS[name];
  const lab = new Lab();
  try {
    const internet = await Internet.start(lab, ...homes, { management: true });
    before?.(internet);
    const call = await startCall(lab, internet, { signaling: MANAGEMENT, seconds: 5 + seconds + AFTER });
    const { caller, joiner, stats } = call;
    await joiner.output(/Connected\./, 30_000);
    await sleep(3000);
    await happen(internet, call);
    await joiner.end((seconds + AFTER + 30) * 1000);
    await caller.end(90_000).catch(() => caller.stop());
    const [a, b] = stats.map((file) => JSON.parse(readFileSync(file, 'utf8')).participants[0]);
    const video = (side) => side['inbound-rtp:video'];
    const frozen = (side) => `${video(side).totalFreezesDuration.toFixed(2)} (${video(side).freezeCount})`;
    const path = (side) => side.pair.relayProtocol ? `relay/${side.pair.relayProtocol}` : side.pair.localCandidateType;
    console.log(`| ${name} | ${homes.join(' × ')} | ${frozen(a)} | ${frozen(b)} | ${path(a)}, ${path(b)} | ${video(a).framesReceived} / ${video(b).framesReceived} |`);
  } catch (error) {
    console.log(`| ${name} | ${homes.join(' × ')} | failed | | | |`);
    console.error(error.message);
    process.exitCode = 1;
  } finally {
    await lab.close();
  }
}
