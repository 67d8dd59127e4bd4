// Everything that can be wrong from outside ends with its own message and exit code, never with a
// panic, and quickly.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import test from 'node:test';
import { emulateCameras } from '../lab/cameras.mjs';
import { freePort, Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { startSound } from '../lab/pulse.mjs';

/** Runs a participant that must fail; checks exit code and message. */
async function fails(t, lab, command, options, { code, says }) {
  const peer = startPeer(lab, command, { duration: '5s', resolution: '320x180@15', ...options });
  const exit = await peer.end(20_000);
  const said = peer.program.stderr;
  t.diagnostic(`exit ${exit}: ${said.trim().split('\n').at(-1)}`);
  assert.equal(exit, code, peer.program.describe());
  assert.match(said, says);
  assert.doesNotMatch(said, /panicked|RUST_BACKTRACE/);
  for (const secret of (options.code ?? '').split('-').slice(1)) {
    if (secret.length > 2 && options.code && !/\s/.test(options.code)) {
      assert.ok(!said.toLowerCase().includes(secret.toLowerCase()), 'the words of a code stay out of messages');
    }
  }
}

test('codes that are none', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  for (const code of ['hello', '4821', '4821-amber', '4821-amber-otter-otter-otter', '-', '99999999999-amber-otter']) {
    await t.test(JSON.stringify(code), (t) => fails(t, lab, 'join', { code: code.startsWith('-') ? undefined : code,
      args: code.startsWith('-') ? ['--', code] : [], server: server.url }, EXPECT.badCode));
  }
});

test('a room that nobody opened', { timeout: 30_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  await fails(t, lab, 'join', { code: '4821-amber-otter', server: server.url }, EXPECT.unknownRoom);
});

test('a full room', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const idle = { server: server.url };
  const host = startPeer(lab, 'call', idle);
  const code = await host.code();
  const guests = Array.from({ length: 9 }, () => startPeer(lab, 'join', { ...idle, code }));
  await Promise.all(guests.map((guest) => guest.program.output(/^Connected\.$/m, 20_000)));
  await fails(t, lab, 'join', { code, server: server.url }, EXPECT.roomFull);
  assert.ok([host, ...guests].every((peer) => peer.program.alive), 'the call of the ten goes on');
});

test('a server that is not there, and things that are no Ahoy server', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const closed = await freePort();
  await t.test('nothing listens', (t) => fails(t, lab, 'call', { server: `ws://127.0.0.1:${closed}` }, EXPECT.unreachable));
  await t.test('no such name', (t) => fails(t, lab, 'call', { server: 'ws://no-such-host.invalid:1' }, EXPECT.unreachable));
  const web = createServer((_, response) => response.end('hello'));
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  lab.defer(() => web.close());
  await t.test('a web server', (t) => fails(t, lab, 'call', { server: `ws://127.0.0.1:${web.address().port}` }, EXPECT.notAhoy));
  await t.test('no address', (t) => fails(t, lab, 'call', { server: 'not an address' }, EXPECT.badArgument));
});

test('files that cannot be used', { timeout: 90_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const file = (name, content) => {
    writeFileSync(lab.file(name), content);
    return `file:${lab.file(name)}`;
  };
  const header = 'YUV4MPEG2 W320 H180 F15:1 Ip A1:1 C420jpeg\n';
  const cases = [
    ['a y4m file that is not there', { camera: 'file:/no/such/clip.y4m' }],
    ['text in the place of y4m', { camera: file('text.y4m', 'hello\n') }],
    ['y4m without a frame', { camera: file('empty.y4m', header) }],
    ['y4m that is cut off', { camera: file('short.y4m', `${header}FRAME\nabc`) }],
    ['y4m of an absurd size', { camera: file('huge.y4m', 'YUV4MPEG2 W999999 H999999 F30:1 C420jpeg\nFRAME\n') }],
    ['a WAV file that is not there', { microphone: 'file:/no/such/voice.wav' }],
    ['text in the place of WAV', { microphone: file('text.wav', 'hello\n') }],
    ['an unwritable picture file', { saveVideo: '/no/such/folder/seen.y4m' }],
    ['a folder in the place of a sound file', { speaker: `file:${(mkdirSync(lab.file('folder')), lab.file('folder'))}` }],
    ['an unwritable statistics file', { stats: '/no/such/folder/stats.json' }],
  ];
  for (const [name, options] of cases) {
    const expected = options.camera || options.microphone ? EXPECT.input : EXPECT.output;
    await t.test(name, (t) => fails(t, lab, 'call', { server: server.url, ...options }, expected));
  }
});

test('devices that are not there, or busy', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const none = await emulateCameras(lab, [], 'none');
  const one = await emulateCameras(lab);
  one.occupy(0);
  const silence = await startSound(lab, { speakers: 0, microphones: 0 });
  const cases = [
    ['an unknown camera', { camera: 'device:/dev/video7', env: one.env }],
    ['a camera where there is none', { camera: 'device:/dev/video0', env: none.env }],
    ['emulated V4L2: a busy camera', { camera: 'device:/dev/video0', env: one.env }],
    ['an unknown microphone', { microphone: 'device:nothing', env: silence.env }],
    ['an unknown speaker', { speaker: 'device:nothing', env: silence.env }],
  ];
  for (const [name, options] of cases) {
    await t.test(name, (t) => fails(t, lab, 'call', { server: server.url, ...options }, EXPECT.device));
  }
});

test('without a camera, a microphone and a speaker, and not asked for by name, the call goes on', { timeout: 30_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const cameras = await emulateCameras(lab, []);
  const sound = await startSound(lab, { speakers: 0, microphones: 0 });
  const peer = startPeer(lab, 'call', {
    server: server.url, camera: 'default', microphone: 'default', speaker: 'default', duration: '3s',
    env: { ...sound.env, ...cameras.env },
  });
  await peer.code();
  assert.equal(await peer.end(), 0, peer.program.describe());
  for (const device of ['camera', 'microphone', 'speaker']) {
    assert.match(peer.program.stderr, new RegExp(`The ${device} cannot be used .* The call goes on without it\\.`));
  }
});

// The exit codes of docs/ahoy-peer.md.
const EXPECT = {
  badArgument: { code: 2, says: /address/i },
  badCode: { code: 2, says: /code|number|word/i },
  unknownRoom: { code: 4, says: /no room/i },
  roomFull: { code: 4, says: /full/i },
  unreachable: { code: 3, says: /cannot be reached/i },
  notAhoy: { code: 3, says: /no Ahoy server/i },
  input: { code: 6, says: /(camera|microphone) cannot be used/i },
  output: { code: 7, says: /cannot/i },
  device: { code: 6, says: /cannot be used/i },
};
