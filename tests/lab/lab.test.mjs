// The lab checks itself: a fixture that lies would make every other test worthless.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { benchCall, glassToGlass, percentile } from './bench-call.mjs';
import { emulateCameras, JPEG_CAMERA, USUAL_CAMERA } from './cameras.mjs';
import { colours, difference, startDisplay } from './display.mjs';
import { Lab } from './lab.mjs';
import { repository } from './paths.mjs';
import { check, cpuSeconds, eventually, run, sleep, start, tree } from './process.mjs';
import { MICROPHONE_NAME, SPEAKER_NAME, startSound } from './pulse.mjs';
import { assertSmooth, longestGap } from './smooth.mjs';
import { amplitudeAt, readWav, rms, speechLike, tone, toneShare, writeWav } from './sound.mjs';
import { readStamp, readStampFromScreen, stampBits, writeStamp } from './stamp.mjs';
import { clip, readClip } from './y4m.mjs';

test('a stamp is read back from luma, from a scaled screen and from a mirror, and damage is noticed', () => {
  const [width, height] = [640, 40];
  const luma = Buffer.alloc(width * height, 100);
  writeStamp(luma, width, 0x012345);
  assert.equal(readStamp(luma, width), 0x012345);
  const box = { x: 13.4, y: 7.2, width: 501.3 };
  const draw = (mirrored) => {
    const screen = { width: 700, height: 60, data: Buffer.alloc(700 * 60 * 3, 90) };
    for (let y = 0; y < 15; y += 1) {
      for (let x = 0; x < Math.floor(box.width); x += 1) {
        const from = Math.floor((x * width) / box.width);
        const at = ((y + 7) * 700 + 13 + (mirrored ? Math.floor(box.width) - x : x)) * 3;
        screen.data.fill(luma[Math.floor((y * width) / box.width) * width + from], at, at + 3);
      }
    }
    return screen;
  };
  assert.equal(readStampFromScreen(draw(false), box), 0x012345);
  assert.equal(readStampFromScreen(draw(true), box, true), 0x012345);
  luma.fill(stampBits(0x012345)[5] ? 16 : 235, 5 * 20, 6 * 20);
  for (let row = 0; row < 20; row += 1) luma.fill(stampBits(0x012345)[5] ? 16 : 235, row * width + 100, row * width + 120);
  assert.equal(readStamp(luma, width), undefined);
});

test('the clip has readable, increasing stamps and detail', (t) => {
  const stamps = [];
  for (const frame of readClip(clip(new Lab(t)))) {
    assert.deepEqual([frame.width, frame.height, frame.frameRate], [1280, 720, 30]);
    stamps.push(frame.stamp);
    if (frame.stamp === 40) assert.ok(new Set(frame.luma.subarray(1280 * 100, 1280 * 101)).size > 40, 'has texture');
  }
  assert.deepEqual(stamps, Array.from({ length: 90 }, (_, number) => number));
});

test('a tone is told from silence, from another tone and from speech', (t) => {
  const lab = new Lab(t);
  const { samples, rate } = readWav(writeWav(lab.file('tone.wav'), tone(1000, 1, 0.3)));
  assert.equal(rate, 48_000);
  assert.ok(Math.abs(amplitudeAt(samples, 1000) - 0.3) < 0.01);
  assert.equal(toneShare(samples, 1000), 1);
  assert.equal(toneShare(samples, 700), 0);
  assert.equal(toneShare(speechLike(2), 1000), 0);
  assert.equal(toneShare(new Float32Array(48_000), 1000), 0);
  assert.ok(rms(speechLike(1)) > 0.03);
});

test('a picture that stops once for a moment is smooth, one that stops often or for long is not', () => {
  assertSmooth({ freezeCount: 0, totalFreezesDuration: 0 }, 'none');
  assertSmooth({ freezeCount: 1, totalFreezesDuration: 0.3 }, 'short');
  for (const frozen of [{ freezeCount: 1, totalFreezesDuration: 0.7 }, { freezeCount: 2, totalFreezesDuration: 0.4 }, {}]) {
    assert.throws(() => assertSmooth(frozen, 'frozen'), assert.AssertionError);
  }
  assert.equal(longestGap([[1, 100], [2, 130], [4, 230], [5, 260]]), '100 ms between 2 and 4');
});

test('a program is waited for, measured and killed with everything that it started', async (t) => {
  const lab = new Lab(t);
  const shell = lab.start('sh', ['-c', 'echo ready; sh -c "while :; do :; done" & wait']);
  await shell.output(/ready/);
  await eventually(() => tree(shell.pid).length === 2, 2000, 'the child runs');
  const pids = tree(shell.pid);
  const before = cpuSeconds(pids);
  await eventually(() => cpuSeconds(pids) - before > 0.2, 10_000, 'the busy child\'s time is seen');
  await shell.stop();
  await eventually(() => pids.every((pid) => !isAlive(pid)), 2000, 'all are gone');
  await assert.rejects(start('sh', ['-c', 'exit 3']).output(/never/, 2000), /it ended/);
  await assert.rejects(start('sleep', ['60']).end(200), /did not end within/);
  assert.equal((await run('sh', ['-c', 'exit 3'])).code, 3);
});

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('what is said into the virtual microphone is heard there, and the speaker is recorded', async (t) => {
  const lab = new Lab(t);
  const sound = await startSound(lab, { speakers: 2, microphones: 1 });
  const described = await sound.control('list');
  for (const name of [SPEAKER_NAME, `${SPEAKER_NAME}_2`, MICROPHONE_NAME]) assert.ok(described.includes(name), name);
  const wav = writeWav(lab.file('tone.wav'), tone(880, 10, 0.3));
  sound.speak(wav);
  lab.start('paplay', ['--device=speaker2', wav], { env: sound.env });
  await eventually(async () => (await sound.streams()).playing >= 2, 3000, 'both play');
  await sleep(300);
  assert.ok(toneShare(await sound.record(1, 2), 880) > 0.8, 'speaker 2 plays the tone');
  assert.ok(rms(await sound.record(0.5, 1)) < 0.001, 'speaker 1 is silent');
  const heard = lab.file('heard.raw');
  await check('sh', ['-c', `timeout 1.2 parec --device=microphone1 --rate=48000 --channels=1 --format=float32le > ${heard} || true`],
    { env: sound.env });
  const bytes = readFileSync(heard);
  const samples = new Float32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 4));
  assert.ok(toneShare(samples, 880) > 0.7, `microphone hears the tone: ${toneShare(samples, 880)} of ${samples.length}`);
});

test('windows appear on the private screen and their pixels are read', async (t) => {
  const lab = new Lab(t);
  const display = await startDisplay(lab, { width: 800, height: 600 });
  const empty = await display.pixels();
  assert.ok(colours(empty) <= 2, `an empty screen has ${colours(empty)} colours`);
  lab.start('display', ['-size', '300x200', 'gradient:red-blue'], { env: display.env });
  const [id] = await eventually(async () => {
    const found = await display.windows('ImageMagick');
    return found.length > 0 ? found : undefined;
  }, 8000, 'a window');
  await display.place(id, { x: 100, y: 120, width: 300, height: 200 });
  await eventually(async () => difference(await display.pixels(), empty) > 2, 20_000, 'the screen changed');
});

test('emulated V4L2: cameras are described as a driver would, and can be unplugged', async (t) => {
  const lab = new Lab(t);
  const cameras = await emulateCameras(lab, [USUAL_CAMERA, JPEG_CAMERA]);
  const probe = lab.file('probe');
  await check('cc', ['-o', probe, path.join(repository, 'tests/lab/v4l2/probe.c')]);
  const look = async () => (await check(probe, [], { env: cameras.env })).stdout.trim().split('\n').sort();
  const one = ['video0 Lab Camera YUYV frames 0 1 2 3 4'];
  assert.deepEqual(await look(), [...one, 'video1 Lab JPEG Camera MJPG frames 0 1 2 3 4']);
  assert.equal(cameras.streaming(0), undefined, 'released');
  cameras.unplug(1);
  assert.deepEqual(await look(), one);
  cameras.occupy(0);
  assert.deepEqual(await look(), ['video0 Lab Camera error 16']);
});

test('the measured call works between two Chromiums, so its figures can be trusted for ours', async (t) => {
  const lab = new Lab(t);
  const sides = await benchCall(lab, { caller: 'chromium', callee: 'chromium', video: '640x360@30', audio: 'pulse',
    settleMs: 500, measureMs: 3000 });
  for (const [from, to] of [[sides.caller, sides.callee], [sides.callee, sides.caller]]) {
    assert.deepEqual(to.errors, []);
    const delays = glassToGlass(from, to);
    assert.ok(delays.length > 45, `${delays.length} stamps were read in 3 s`);
    assert.ok(percentile(delays, 0.5) > 1 && percentile(delays, 0.5) < 1000, `${percentile(delays, 0.5)} ms`);
    assert.ok(to.grown('inbound-rtp:video', 'framesDecoded') > 60);
    assert.ok(to.cores > 0.05 && to.memory.pss > 50);
  }
});
