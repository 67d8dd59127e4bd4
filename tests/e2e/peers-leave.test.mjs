// One side leaves, in good order or by a crash: the other knows within 5 s.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';

/** How long the other side may take to notice, in ms. */
const KNOWS_MS = 5000;

for (const [how, signal] of [['hangs up', 'SIGINT'], ['is killed', 'SIGKILL']]) {
  test(`when one side ${how}, the other knows within 5 s`, { timeout: 60_000 }, async (t) => {
    const lab = new Lab(t);
    const server = await startServer(lab);
    const common = { server: server.url, camera: 'pattern', microphone: 'tone', resolution: '320x180@15' };
    const ann = startPeer(lab, 'call', { ...common, name: 'ann' });
    const code = await ann.code();
    const ben = startPeer(lab, 'join', { ...common, name: 'ben', code });
    await connected(ann);
    await connected(ben);
    const at = performance.now();
    if (signal === 'SIGKILL') await ben.program.kill();
    else ben.program.signal(signal);
    await ann.program.output(/^Left: ben$/m, KNOWS_MS);
    t.diagnostic(`known after ${Math.round(performance.now() - at)} ms`);
    if (signal === 'SIGINT') {
      assert.equal(await ben.end(5000), 0, 'hanging up is no failure');
    } else {
      // Whoever lost power or network may come back with the same code.
      await ann.program.until(() => ann.program.stdout.match(/Left: ben[^]*Waiting for others\./), 2000, 'waiting again');
      const again = startPeer(lab, 'join', { ...common, name: 'ben', code, duration: '3s' });
      await ann.program.until(() => ann.program.stdout.match(/Left: ben[^]*Joined: ben/), 8000, 'Ben is back');
      assert.equal(await again.end(8000), 0);
    }
    assert.equal(await ann.end(5000), 0, 'a call that the other side ended is no failure');
  });
}

async function connected(peer) {
  // Whoever has not been announced is not said to have left.
  await peer.program.output(/^Joined: (ann|ben)$/m, 10_000);
}
