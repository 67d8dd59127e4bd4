// Somebody whom the others had to take for gone comes back: nobody has to call again.

import assert from 'node:assert/strict';
import test from 'node:test';
import WebSocket from 'ws';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { sleep } from '../lab/process.mjs';
import { startRelay } from '../lab/relay.mjs';
import { clip } from '../lab/y4m.mjs';

/** For a connection that is there again, in ms: a pause of signaling or ICE has at most 8 s. */
const BACK_MS = 15_000;
/** How long a seat is kept whose connection broke, in ms. */
const SEAT_MS = 60_000;
/** For pictures of the connection that stands again. */
const PICTURES_MS = 3000;

/** Pictures of the connection that ended last, or stands. */
const frames = (side) => {
  const other = side.stats().participants.at(-1);
  return (other.stats ?? other)['inbound-rtp:video'].framesDecoded;
};

function starter(lab) {
  return (command, name, server, code) => startPeer(lab, command, {
    name,
    code,
    server,
    camera: `file:${clip(lab, { width: 320, height: 180, frameRate: 15 })}`,
    resolution: '320x180@15',
    stats: lab.file(`${name}.json`),
  });
}

async function hangUp(first, second) {
  first.program.signal('SIGINT');
  for (const side of [first, second]) assert.equal(await side.end(8000), 0, side.program.describe());
}

const count = (peer, line) => peer.program.stdout.split(/\r?\n/).filter((one) => one === line).length;

test('a silent participant without a connection to the server is gone, and back when heard again', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const relay = await startRelay(lab, server.port);
  const peer = starter(lab);
  const ann = peer('call', 'ann', server.url);
  const ben = peer('join', 'ben', relay.url, await ann.code());
  await ann.program.output(/^Joined: ben$/m, 10_000);
  await ben.program.output(/^Joined: ann$/m, 10_000);
  // As when a network goes that resets connections: the server cannot tell that from a crash.
  ben.program.signal('SIGSTOP');
  relay.cut();
  await ann.program.output(/^Left: ben$/m, 6000);
  await ann.program.until(() => /Left: ben[^]*Waiting for others\./.test(ann.program.stdout), 2000, 'waiting again');
  relay.open();
  ben.program.signal('SIGCONT');
  await ann.program.until(() => /Left: ben[^]*Joined: ben/.test(ann.program.stdout), BACK_MS, 'Ben is back');
  await sleep(PICTURES_MS);
  assert.equal(count(ben, 'Left: ann'), 0, 'whoever was gone himself has missed nobody');
  await hangUp(ben, ann);
  assert.ok(frames(ann) > 20, `ann decoded ${frames(ann)} frames`);
});

test('whoever has another seat after a restart of the server connects anew', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const relay = await startRelay(lab, server.port);
  const peer = starter(lab);
  const ann = peer('call', 'ann', relay.url);
  const code = await ann.code();
  const ben = peer('join', 'ben', relay.url, code);
  await ann.program.output(/^Joined: ben$/m, 10_000);
  await ben.program.output(/^Joined: ann$/m, 10_000);
  relay.cut();
  await server.program.kill();
  // Another room has the number before they are back: their seats are not to be had any more.
  const again = await startServer(lab);
  const stranger = await occupy(lab, again.url, Number(code.split('-')[0]));
  relay.open(again.port);
  await stranger.others(2, BACK_MS);
  stranger.leave();
  for (const [side, line] of [[ann, 'Joined: ben'], [ben, 'Joined: ann']]) {
    await side.program.until(() => count(side, line) === 2, BACK_MS, `${line} again`);
  }
  await sleep(PICTURES_MS);
  await hangUp(ben, ann);
  for (const side of [ann, ben]) assert.ok(frames(side) > 20, `${frames(side)} frames were decoded`);
});

test('a seat is given up after a minute, and whoever wakes after that is let in anew', { timeout: 150_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const peer = starter(lab);
  const ann = peer('call', 'ann', server.url);
  const ben = peer('join', 'ben', server.url, await ann.code());
  await ann.program.output(/^Joined: ben$/m, 10_000);
  await ben.program.output(/^Joined: ann$/m, 10_000);
  // As a computer that sleeps: its connections stand, and nothing answers on them.
  ben.program.signal('SIGSTOP');
  const asleep = performance.now();
  await ann.program.output(/^Left: ben$/m, SEAT_MS + 15_000);
  const after = performance.now() - asleep;
  assert.ok(after > SEAT_MS - 5000, `gone after ${after} ms already`);
  await ann.program.until(() => /Left: ben[^]*Waiting for others\./.test(ann.program.stdout), 2000, 'waiting again');
  await sleep(5000);
  ben.program.signal('SIGCONT');
  await ann.program.until(() => count(ann, 'Joined: ben') === 2, BACK_MS, 'Ben is back');
  await sleep(PICTURES_MS);
  await hangUp(ben, ann);
  for (const side of [ann, ben]) assert.ok(frames(side) > 20, `${frames(side)} frames were decoded`);
});

/** Opens the room with this number; `others` waits until so many more are in it. */
async function occupy(lab, url, room) {
  const socket = new WebSocket(url, 'ahoy.2');
  lab.defer(() => socket.terminate());
  const heard = [];
  socket.on('message', (text) => {
    const message = JSON.parse(text);
    heard.push(message);
    if (message.type === 'ping') socket.send(JSON.stringify({ type: 'pong' }));
  });
  const saw = async (type, many, timeoutMs) => {
    const end = performance.now() + timeoutMs;
    while (heard.filter((message) => message.type === type).length < many) {
      if (performance.now() > end) throw new Error(`waiting for ${many} of ${type}: ${JSON.stringify(heard)}`);
      await sleep(50);
    }
  };
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.send(JSON.stringify({ type: 'create', version: 2, room }));
  await saw('created', 1, 5000);
  return {
    others: (many, timeoutMs) => saw('participantJoined', many, timeoutMs),
    leave: () => socket.send(JSON.stringify({ type: 'leave' })),
  };
}
