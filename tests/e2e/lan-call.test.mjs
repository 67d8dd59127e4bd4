// Two computers on one network, no internet, no server: the same room code is enough.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startNetworkOf } from '../lab/namespaces.mjs';
import { startPeer } from '../lab/peer.mjs';
import { clip, readClip } from '../lab/y4m.mjs';

/** A server that nobody can reach from there (RFC 5737). */
const ELSEWHERE = 'ws://203.0.113.9:24640';

/** An address of the network that no computer has: the kernel looks for it for 3 s. */
const SILENT = 'ws://10.77.0.250:24640';

/** Longest that ahoy-peer may wait for its end, in ms: it is told how long to stay. */
const END_MS = 60_000;

const share = ['--share-on-network'];

async function surroundings(t, count = 2) {
  const lab = new Lab(t);
  return { lab, computers: await startNetworkOf(lab, count) };
}

test('computers without a server call each other by the code', { timeout: 120_000 }, async (t) => {
  const { lab, computers: [here, there] } = await surroundings(t);
  const stay = { camera: `file:${clip(lab, { width: 640, height: 360 })}`, resolution: '640x360@30', duration: '8s' };
  const ann = startPeer(lab, 'call', { ...stay, name: 'ann', computer: here, args: share, saveVideo: lab.file('ann.y4m') });
  const code = await ann.code();
  const began = performance.now();
  const ben = startPeer(lab, 'join', { ...stay, name: 'ben', computer: there, code, saveVideo: lab.file('ben.y4m') });
  await ben.program.output(/^Code: /m, 30_000);
  t.diagnostic(`in the room after ${Math.round(performance.now() - began)} ms`);
  assert.equal(await ben.end(END_MS), 0, ben.program.describe());
  assert.equal(await ann.end(END_MS), 0, ann.program.describe());
  assert.match(ben.program.stdout, /Joined: ann/);
  // The way that was found is one that can be handed on.
  assert.match(ben.program.stdout, new RegExp(`Link: ahoy\\+ws://${here.ip.replaceAll('.', '\\.')}:\\d+/\\d+#`));
  for (const name of ['ann', 'ben']) {
    const stamps = [...readClip(lab.file(`${name}.y4m`))].filter(({ stamp }) => stamp !== undefined);
    t.diagnostic(`${name} saw ${stamps.length} pictures`);
    assert.ok(stamps.length > 30, `${name} saw ${stamps.length} pictures`);
  }
});

for (const [what, server] of [['cannot be reached', ELSEWHERE], ['is silent', SILENT]]) {
  test(`a server that ${what} is replaced by this network, and that is said`, { timeout: 120_000 }, async (t) => {
    const { lab, computers: [here, there] } = await surroundings(t);
    const ann = startPeer(lab, 'call', { name: 'ann', computer: here, server, args: share, duration: '12s' });
    const code = await ann.code(20_000);
    await ann.program.output(/[\d.]+ does not answer: only computers on this network can join\./);
    const began = performance.now();
    const ben = startPeer(lab, 'join', { name: 'ben', computer: there, server, code, duration: '4s' });
    await ben.program.output(/^Code: /m, 30_000);
    t.diagnostic(`in the room after ${Math.round(performance.now() - began)} ms`);
    await ben.program.output(/^Connected\.$/m, 30_000);
    assert.equal(await ben.end(END_MS), 0, ben.program.describe());
    assert.equal(await ann.end(END_MS), 0, ann.program.describe());
  });
}

test('nothing is opened on the network unasked', { timeout: 60_000 }, async (t) => {
  const { lab, computers: [here] } = await surroundings(t, 1);
  const ann = startPeer(lab, 'call', { name: 'ann', computer: here, server: ELSEWHERE });
  assert.equal(await ann.end(END_MS), 3, ann.program.describe());
});

test('only the room with the number is found, and only while it is shared', { timeout: 120_000 }, async (t) => {
  const { lab, computers: [here, there, third] } = await surroundings(t, 3);
  const ann = startPeer(lab, 'call', { name: 'ann', computer: here, args: share });
  const private_ = startPeer(lab, 'call', { name: 'cleo', computer: third });
  const [number, ...words] = (await ann.code()).split('-');
  const other = `${Number(number) === 9999 ? 1000 : Number(number) + 1}-${words.join('-')}`;
  const join = (code) => startPeer(lab, 'join', { computer: there, code, duration: '2s' });
  const refused = async (code) => {
    const peer = join(code);
    assert.equal(await peer.end(END_MS), 4, peer.program.describe());
    assert.match(peer.program.stderr, /No room has this number, on the server or on this network/);
  };
  await refused(other);
  await refused(await private_.code());
  const ben = join(`${number}-${words.join('-')}`);
  assert.equal(await ben.end(END_MS), 0, ben.program.describe());
  ann.program.signal('SIGTERM');
  await ann.end();
  await refused(`${number}-${words.join('-')}`);
});
