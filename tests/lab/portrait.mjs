// Somebody at a desk, for pictures that people look at: drawn shapes that move a little, with the
// grain of a camera, so that an encoder has something to do in every frame.

import { closeSync, existsSync, openSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import { folder, labFolder } from './paths.mjs';

/** Colours as red, green, blue. */
export const PEOPLE = {
  ann: { wall: [[242, 220, 182], [220, 175, 128]], skin: [201, 143, 102], hair: [43, 28, 21], shirt: [211, 154, 45] },
  ben: { wall: [[185, 211, 207], [117, 163, 161]], skin: [238, 195, 156], hair: [138, 74, 32], shirt: [43, 102, 114] },
};

/** How far the grain goes up and down, of 255. */
const GRAIN = 3;

/** A clip of one of [`PEOPLE`] that repeats without a seam, in cargo's target folder, made when it is not there. */
export function portrait(name, { width = 1280, height = 720, frameRate = 30, seconds = 3 } = {}) {
  const frames = frameRate * seconds;
  const file = path.join(folder(labFolder, 'clips'), `portrait-${name}-${width}x${height}-${frames}.y4m`);
  if (existsSync(file)) return file;
  const unfinished = `${file}.${process.pid}`;
  const handle = openSync(unfinished, 'w');
  writeSync(handle, `YUV4MPEG2 W${width} H${height} F${frameRate}:1 Ip A1:1 C420jpeg\n`);
  for (let number = 0; number < frames; number += 1) {
    writeSync(handle, 'FRAME\n');
    writeSync(handle, draw(PEOPLE[name], width, height, number / frames));
  }
  closeSync(handle);
  renameSync(unfinished, file);
  return file;
}

/** One frame as I420; `at` goes from 0 to 1. */
function draw(person, width, height, at) {
  const colours = new Uint8Array(width * height * 3);
  const set = (index, [red, green, blue]) => {
    colours[index * 3] = red;
    colours[index * 3 + 1] = green;
    colours[index * 3 + 2] = blue;
  };
  const [top, bottom] = person.wall;
  for (let y = 0; y < height; y += 1) {
    const wall = top.map((value, channel) => value + ((bottom[channel] - value) * y) / height);
    for (let x = 0; x < width; x += 1) set(y * width + x, wall);
  }
  const fill = (left, upper, right, lower, inside, colour) => {
    for (let y = Math.max(0, Math.floor(upper)); y < Math.min(height, lower); y += 1) {
      for (let x = Math.max(0, Math.floor(left)); x < Math.min(width, right); x += 1) {
        if (inside(x, y)) set(y * width + x, colour);
      }
    }
  };
  const box = (colour, left, upper, wide, high) => fill(left, upper, left + wide, upper + high, () => true, colour);
  const ellipse = (colour, x, y, wide, high) => fill(x - wide, y - high, x + wide + 1, y + high + 1,
    (column, row) => ((column - x) / wide) ** 2 + ((row - y) / high) ** 2 <= 1, colour);
  const unit = height / 100;
  const turn = 2 * Math.PI * at;
  const x = width / 2 + Math.sin(turn) * 1.2 * unit;
  const y = height * 0.46 + Math.sin(2 * turn) * 0.8 * unit;
  box(top.map((value) => (value + 255) / 2), width * 0.7, height * 0.12, width * 0.2, height * 0.38);
  ellipse(person.shirt, width / 2, height * 1.06, 44 * unit, 32 * unit);
  ellipse(person.hair, x, y - 5 * unit, 21 * unit, 25 * unit);
  box(person.skin, x - 7 * unit, y + 12 * unit, 14 * unit, 18 * unit);
  ellipse(person.skin, x, y, 17 * unit, 22 * unit);
  ellipse(person.hair, x, y - 19 * unit, 18 * unit, 9 * unit);
  for (const side of [-1, 1]) ellipse([26, 20, 18], x + side * 6.5 * unit, y - 2 * unit, 1.5 * unit, 2 * unit);
  ellipse([107, 36, 32], x, y + 11 * unit, 4.5 * unit, (1.2 + Math.abs(Math.sin(5 * turn)) * 1.6) * unit);
  return i420(colours, width, height, Math.round(at * 1e6));
}

/** BT.601, limited range, with grain on the luma. */
function i420(colours, width, height, seed) {
  const pixels = width * height;
  const frame = Buffer.alloc((pixels * 3) / 2);
  let random = seed;
  for (let index = 0; index < pixels; index += 1) {
    const [red, green, blue] = [colours[index * 3], colours[index * 3 + 1], colours[index * 3 + 2]];
    random = (Math.imul(random, 1664525) + 1013904223) | 0;
    frame[index] = 16 + 0.257 * red + 0.504 * green + 0.098 * blue + ((random >> 16) % (GRAIN + 1));
  }
  const half = width / 2;
  for (let y = 0; y < height / 2; y += 1) {
    for (let x = 0; x < half; x += 1) {
      const at = (2 * y * width + 2 * x) * 3;
      const [red, green, blue] = [colours[at], colours[at + 1], colours[at + 2]];
      frame[pixels + y * half + x] = 128 - 0.148 * red - 0.291 * green + 0.439 * blue;
      frame[(pixels * 5) / 4 + y * half + x] = 128 + 0.439 * red - 0.368 * green - 0.071 * blue;
    }
  }
  return frame;
}
