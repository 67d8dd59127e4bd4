// Emulated V4L2 cameras for the programs under test (see v4l2/cameras.c): the device API's calls,
// answered by a library of ours inside the process. No kernel driver takes part.

import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { library } from './library.mjs';
import { folder, labFolder } from './paths.mjs';
import { check } from './process.mjs';
import { clip } from './y4m.mjs';

/** A camera as most laptops have one. */
export const USUAL_CAMERA = {
  name: 'Lab Camera',
  modes: ['YUYV 1280x720 30', 'YUYV 640x360 30', 'YUYV 640x360 15', 'YUYV 320x180 30'],
};

/** A camera that has 720p only as MJPEG, as many USB cameras do. */
export const JPEG_CAMERA = { name: 'Lab JPEG Camera', modes: ['MJPG 1280x720 30', 'YUYV 320x240 30'] };

/** A camera or grabber for television's 29.97 frames per second, which has no other rate. */
export const TELEVISION_CAMERA = { name: 'Lab Grabber', modes: ['YUYV 1280x720 30000/1001'] };

/** The stamped clip as JPEG pictures, made when they are not there yet. */
async function jpegs(lab, width, height) {
  const made = path.join(labFolder, `jpegs-${width}x${height}`);
  if (!existsSync(made)) {
    const unfinished = folder(`${made}.${process.pid}`);
    await check('ffmpeg', ['-loglevel', 'error', '-i', clip(lab, { width, height }), '-q:v', '3', '-start_number', '0',
      path.join(unfinished, '%04d.jpg')], { timeoutMs: 60_000 });
    renameSync(unfinished, made);
  }
  return made;
}

/** Sets up cameras: `/dev/video0` is the first. Give `cameras.env` to the program under test. */
export async function emulateCameras(lab, cameras = [USUAL_CAMERA], name = 'cameras') {
  const control = lab.file(name);
  mkdirSync(control, { recursive: true });
  const emulated = new Cameras(lab, control, { AHOY_LAB_CAMERAS: control, LD_PRELOAD: await library('v4l2/cameras.c') });
  for (const [number, camera] of cameras.entries()) await emulated.add(number, camera);
  return emulated;
}

class Cameras {
  constructor(lab, control, env) {
    this.lab = lab;
    this.control = control;
    this.env = env;
  }

  /** Plugs in a further camera as `/dev/videoN`. */
  async add(number, { name, modes = [], metadata = false }) {
    for (const mode of modes.filter((text) => text.startsWith('MJPG'))) {
      const [width, height] = mode.split(' ')[1].split('x').map(Number);
      const to = folder(this.control, `MJPG-${width}x${height}`);
      const from = await jpegs(this.lab, width, height);
      for (const file of readdirSync(from)) copyFileSync(path.join(from, file), path.join(to, file));
    }
    const text = [`name ${name}`, ...modes.map((mode) => `mode ${mode}`), ...(metadata ? ['metadata'] : []), ''];
    writeFileSync(path.join(this.control, `video${number}`), text.join('\n'));
  }

  #flag(number, flag, on) {
    const file = path.join(this.control, `video${number}.${flag}`);
    if (on) writeFileSync(file, '');
    else rmSync(file, { force: true });
  }

  /** Pulls the plug; `false` puts it back. */
  unplug(number, on = true) {
    this.#flag(number, 'gone', on);
  }

  /** Delivers no more frames, without any error, as a hung camera does. */
  stall(number, on = true) {
    this.#flag(number, 'stall', on);
  }

  /** Another program streams from it. */
  occupy(number, on = true) {
    this.#flag(number, 'busy', on);
  }

  /** The system forbids opening it. */
  forbid(number, on = true) {
    this.#flag(number, 'denied', on);
  }

  /** From now on every delivered frame is noted, for [`frames`]. */
  noteFrames(number) {
    writeFileSync(path.join(this.control, `video${number}.frames`), '');
  }

  /** Frame numbers and the moments of their delivery, Unix ms. */
  frames(number) {
    return readFileSync(path.join(this.control, `video${number}.frames`), 'utf8').split('\n').filter(Boolean)
      .map((line) => line.split(' ').map(Number)).map(([frame, at]) => [frame, at / 1000]);
  }

  /** What streams now, such as `YUYV 1280x720 30/1`, or `undefined`. */
  streaming(number) {
    try {
      return readFileSync(path.join(this.control, `video${number}.streaming`), 'utf8').trim();
    } catch {
      return undefined;
    }
  }
}
