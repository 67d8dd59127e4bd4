// Devices of the system: real sound server, emulated V4L2 cameras.

import assert from 'node:assert/strict';
import test from 'node:test';
import { emulateCameras, JPEG_CAMERA, TELEVISION_CAMERA, USUAL_CAMERA } from '../lab/cameras.mjs';
import { Lab } from '../lab/lab.mjs';
import { startPeer, startServer } from '../lab/peer.mjs';
import { binary } from '../lab/paths.mjs';
import { check, eventually, sleep } from '../lab/process.mjs';
import { MICROPHONE_NAME, SPEAKER_NAME, startSound } from '../lab/pulse.mjs';
import { amplitudeAt, RATE, rms, tone, toneShare, writeWav } from '../lab/sound.mjs';
import { readClip } from '../lab/y4m.mjs';

const listed = async (env) => JSON.parse((await check(binary('ahoy-peer'), ['devices', '--json'], { env })).stdout);

test('emulated V4L2 and real PulseAudio: devices are listed', { timeout: 30_000 }, async (t) => {
  const lab = new Lab(t);
  const sound = await startSound(lab, { speakers: 2, microphones: 1 });
  const cameras = await emulateCameras(lab, [USUAL_CAMERA, JPEG_CAMERA, { name: 'Lab Camera', metadata: true }]);
  const env = { ...sound.env, ...cameras.env };
  const devices = await listed(env);
  assert.deepEqual(devices.cameras.map(({ label }) => label), ['Lab Camera', 'Lab JPEG Camera'],
    'in order, and without the node that delivers no pictures');
  const labels = (list) => list.map(({ label }) => label).join('; ');
  assert.match(labels(devices.microphones), new RegExp(MICROPHONE_NAME));
  assert.match(labels(devices.speakers), new RegExp(`${SPEAKER_NAME}.*${SPEAKER_NAME}_2`));
  assert.equal(devices.speakers.filter(({ isDefault }) => isDefault).length, 1);
  cameras.unplug(0);
  assert.deepEqual((await listed(env)).cameras.map(({ label }) => label), ['Lab JPEG Camera']);
});

/** Noise suppression takes a tone for noise, and gain control changes its level. */
const FOR_TONES = ['--echo-cancellation', 'false', '--noise-suppression', 'false', '--auto-gain-control', 'false'];

test('sound goes from a real microphone to a real speaker', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const [here, there] = [await startSound(lab, { name: 'here' }), await startSound(lab, { name: 'there' })];
  here.speak(writeWav(lab.file('here.wav'), tone(1000, 40, 0.3)));
  there.speak(writeWav(lab.file('there.wav'), tone(700, 40, 0.3)));
  const devices = { server: server.url, microphone: 'default', speaker: 'default', duration: '20s', args: FOR_TONES };
  const ann = startPeer(lab, 'call', { ...devices, name: 'ann', env: here.env });
  startPeer(lab, 'join', { ...devices, name: 'ben', code: await ann.code(), env: there.env });
  await ann.program.output(/^Connected\.$/m, 10_000);
  await sleep(1500);
  const [heardHere, heardThere] = await Promise.all([here.record(4), there.record(4)]);
  t.diagnostic(`700 Hz here ${toneShare(heardHere, 700)}, 1000 Hz there ${toneShare(heardThere, 1000)}`);
  assert.ok(toneShare(heardHere, 700) > 0.9, `here: 700 Hz in ${toneShare(heardHere, 700)}, rms ${rms(heardHere)}`);
  assert.ok(toneShare(heardThere, 1000) > 0.9, `there: 1000 Hz in ${toneShare(heardThere, 1000)}, rms ${rms(heardThere)}`);
});

test('original sound arrives in stereo, full band and as loud as it is; other sound is mono', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const [here, there] = [await startSound(lab, { name: 'here', stereo: true }), await startSound(lab, { name: 'there', stereo: true })];
  const [low, high, level] = [700, 15_000, 0.1];
  here.speak(writeWav(lab.file('here.wav'), tone(low, 40, level), tone(high, 40, level)));
  there.speak(writeWav(lab.file('there.wav'), tone(400, 40, level), tone(1000, 40, level)));
  const devices = { server: server.url, microphone: 'default', speaker: 'default', duration: '20s' };
  const ann = startPeer(lab, 'call', { ...devices, name: 'ann', env: here.env, args: ['--original-sound'] });
  startPeer(lab, 'join', { ...devices, name: 'ben', code: await ann.code(), env: there.env, args: FOR_TONES });
  await ann.program.output(/^Connected\.$/m, 10_000);
  await sleep(1500);
  const [[monoLeft, monoRight], [left, right]] = await Promise.all([here.recordStereo(3), there.recordStereo(3)]);
  t.diagnostic(`left: ${low} Hz in ${toneShare(left, low)}, right: ${high} Hz in ${toneShare(right, high)}`);
  for (const [side, samples, own, other] of [['left', left, low, high], ['right', right, high, low]]) {
    assert.ok(toneShare(samples, own) > 0.9, `${side}: ${own} Hz in ${toneShare(samples, own)}, rms ${rms(samples)}`);
    const loud = rms(samples) * Math.SQRT2;
    assert.ok(loud > 0.7 * level && loud < 1.4 * level, `${side}: ${loud} of ${level}`);
    const leaked = strongestOf(samples, other);
    assert.ok(leaked < 0.1 * level, `${side}: ${leaked} of the other side's ${other} Hz`);
  }
  for (const samples of [monoLeft, monoRight]) {
    for (const frequency of [400, 1000]) assert.ok(strongestOf(samples, frequency) > 0.3 * level, `${frequency} Hz on both sides`);
  }
});

/** The most there is of a tone in any 100 ms. */
function strongestOf(samples, frequency) {
  const size = RATE / 10;
  const windows = Array.from({ length: Math.floor(samples.length / size) }, (_, at) => samples.subarray(at * size, (at + 1) * size));
  return Math.max(...windows.map((window) => amplitudeAt(window, frequency)));
}

for (const [what, camera, format] of [
  ['YUYV', USUAL_CAMERA, /^YUYV 1280x720 30/],
  ['MJPEG', JPEG_CAMERA, /^MJPG 1280x720 30/],
  ['29.97 Hz', TELEVISION_CAMERA, /^YUYV 1280x720 30000\/1001/],
]) {
  test(`emulated V4L2: a ${what} camera's pictures arrive at the other side`, { timeout: 60_000 }, async (t) => {
    const lab = new Lab(t);
    const server = await startServer(lab);
    const cameras = await emulateCameras(lab, [camera]);
    const ann = startPeer(lab, 'call', {
      server: server.url, name: 'ann', camera: 'device:/dev/video0', resolution: '1280x720@30', duration: '8s', env: cameras.env,
    });
    const ben = startPeer(lab, 'join', {
      server: server.url, name: 'ben', code: await ann.code(), saveVideo: lab.file('seen.y4m'), duration: '7s',
    });
    await eventually(() => cameras.streaming(0), 5000, 'the camera streams');
    assert.match(cameras.streaming(0), format, 'opened as asked');
    assert.equal(await ben.end(), 0, ben.program.describe());
    assert.equal(await ann.end(), 0, ann.program.describe());
    assert.equal(cameras.streaming(0), undefined, 'released at the end');
    const stamps = [...readClip(lab.file('seen.y4m'))].map(({ stamp }) => stamp).filter((stamp) => stamp !== undefined);
    t.diagnostic(`${stamps.length} readable frames, from ${stamps[0]} to ${stamps.at(-1)}`);
    assert.ok(stamps.length > 90, `${stamps.length} readable frames arrived`);
    assert.ok(new Set(stamps).size > 60);
  });
}

test('emulated V4L2: pulling the camera\'s plug does not end the call', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const cameras = await emulateCameras(lab);
  const ann = startPeer(lab, 'call', {
    server: server.url, name: 'ann', camera: 'default', microphone: 'tone', resolution: '640x360@30', duration: '12s',
    env: cameras.env, stats: lab.file('ann.json'),
  });
  const ben = startPeer(lab, 'join', {
    server: server.url, name: 'ben', code: await ann.code(), microphone: 'tone', speaker: `file:${lab.file('heard.wav')}`,
    duration: '10s', stats: lab.file('ben.json'),
  });
  await ben.program.output(/^Connected\.$/m, 10_000);
  await sleep(2500);
  cameras.unplug(0);
  await ann.program.output(/The camera cannot be used .* The call goes on without it\./, 6000);
  assert.equal(await ben.end(), 0, ben.program.describe());
  assert.equal(await ann.end(), 0, ann.program.describe());
  const [stats] = ben.stats().participants;
  assert.ok((stats.stats ?? stats)['inbound-rtp:audio'].totalSamplesReceived > 48_000 * 7, 'sound went on');
});

test('emulated V4L2: a camera that hangs is given up, and the participant still ends in time', { timeout: 60_000 }, async (t) => {
  const lab = new Lab(t);
  const server = await startServer(lab);
  const cameras = await emulateCameras(lab);
  const ann = startPeer(lab, 'call', {
    server: server.url, name: 'ann', camera: 'default', resolution: '640x360@30', duration: '9s', env: cameras.env,
  });
  const ben = startPeer(lab, 'join', { server: server.url, name: 'ben', code: await ann.code(), duration: '6s' });
  await ben.program.output(/^Connected\.$/m, 10_000);
  cameras.stall(0);
  await ann.program.output(/The camera cannot be used .* The call goes on without it\./, 8000);
  assert.equal(await ben.end(), 0, ben.program.describe());
  assert.equal(await ann.end(15_000), 0, ann.program.describe());
});
