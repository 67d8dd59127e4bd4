// The server is killed and started again in a call: nobody in it notices, and others can still come.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { sleep } from '../lab/process.mjs';
import { assertSmooth } from '../lab/smooth.mjs';
import { clip } from '../lab/y4m.mjs';

/** Long enough for both to have noticed, and to have tried more than once. */
const DOWN_MS = 2500;
/** For everybody to be back in the room: the longest pause between two tries is 8 s. */
const BACK_MS = 4500;

test('a call goes on while the server is restarted, and a third can join afterwards', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const peer = (command, name, code, duration) => startPeer(lab, command, {
    name,
    code,
    server: server.url,
    camera: `file:${clip(lab, { width: 320, height: 180, frameRate: 15 })}`,
    resolution: '320x180@15',
    duration,
    stats: lab.file(`${name}.json`),
  });
  const ann = peer('call', 'ann', undefined, '22s');
  const code = await ann.code();
  const ben = peer('join', 'ben', code, '22s');
  await sleep(4000);
  await server.program.kill();
  await sleep(DOWN_MS);
  await startServer(lab, [], { port: server.port });
  await sleep(BACK_MS);
  const cem = peer('join', 'cem', code, '6s');
  for (const side of [cem, ben, ann]) assert.equal(await side.end(), 0, side.program.describe());
  for (const [name, side] of Object.entries({ ann, ben })) {
    const others = side.stats().participants;
    assert.equal(others.length, 2, `${name} met ${others.length}`);
    const [first, second] = others.map((other) => (other.stats ?? other)['inbound-rtp:video']);
    assert.ok(first.framesDecoded > 220, `${name} decoded ${first.framesDecoded} frames of the one that was there`);
    assertSmooth(first, name);
    assert.ok(second.framesDecoded > 30, `${name} decoded ${second.framesDecoded} frames of the one that came`);
  }
});
