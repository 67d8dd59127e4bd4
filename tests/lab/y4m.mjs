// Clips for tests: written with a frame stamp and detailed moving content, read back frame by frame.

import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { readStamp, writeStamp } from './stamp.mjs';

/**
 * A stamped clip in the lab's folder, made when it is not there yet, in less than a second. The
 * content has fine texture that moves, so that an encoder has real work: about what a person
 * before a bookshelf costs, not a colour chart. Returns its path.
 */
export function clip(lab, { width = 1280, height = 720, frameRate = 30, seconds = 3 } = {}) {
  const frames = Math.round(frameRate * seconds);
  const file = lab.file(`${width}x${height}-${frameRate}-${frames}.y4m`);
  if (existsSync(file)) return file;
  const handle = openSync(file, 'w');
  writeSync(handle, `YUV4MPEG2 W${width} H${height} F${frameRate}:1 Ip A1:1 C420jpeg\n`);
  const draw = painter(width, height, frames);
  for (let number = 0; number < frames; number += 1) {
    writeSync(handle, 'FRAME\n');
    writeSync(handle, draw(number));
  }
  closeSync(handle);
  return file;
}

/** Returns a function that draws frame `number` as I420 bytes; it repeats after `frames`. */
function painter(width, height, frames) {
  // Texture: smoothed noise in a few octaves, one tile that repeats, so the loop has no seam.
  const tile = 512;
  const texture = noise(tile);
  const frame = Buffer.alloc((width * height * 3) / 2);
  const luma = frame.subarray(0, width * height);
  const chroma = width * height;
  return (number) => {
    const turn = (2 * Math.PI * number) / frames;
    const panX = Math.round(40 + 40 * Math.sin(turn));
    const panY = Math.round(20 + 20 * Math.cos(turn));
    for (let y = 0; y < height; y += 1) {
      const row = ((y + panY) % tile) * tile;
      for (let x = 0; x < width; x += 1) luma[y * width + x] = texture[row + ((x + panX) % tile)];
    }
    // A bright shape that moves against the background, as a face does.
    const centreX = width * (0.5 + 0.18 * Math.sin(turn));
    const centreY = height * (0.58 + 0.05 * Math.sin(2 * turn));
    const radius = height * 0.26;
    for (let y = Math.floor(centreY - radius); y < centreY + radius; y += 1) {
      if (y < 0 || y >= height) continue;
      const half = Math.sqrt(Math.max(0, radius ** 2 - (y - centreY) ** 2));
      for (let x = Math.max(0, Math.floor(centreX - half)); x < Math.min(width, centreX + half); x += 1) {
        const at = y * width + x;
        luma[at] = Math.min(235, 90 + (luma[at] >> 1) + (((x - centreX) * (y - centreY)) / radius ** 2) * 20);
      }
    }
    for (let y = 0; y < height / 2; y += 1) {
      for (let x = 0; x < width / 2; x += 1) {
        const at = chroma + (y * width) / 2 + x;
        frame[at] = 118 + Math.round(20 * Math.sin((x + panX) / 37));
        frame[at + chroma / 4] = 134 + Math.round(20 * Math.cos((y + panY) / 29));
      }
    }
    writeStamp(luma, width, number);
    return frame;
  };
}

function noise(size) {
  let seed = 20;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const sum = new Float64Array(size * size);
  for (const [step, weight] of [[64, 70], [16, 40], [4, 22]]) {
    const cells = size / step;
    const grid = Float64Array.from({ length: cells * cells }, random);
    for (let y = 0; y < size; y += 1) {
      const gy = Math.floor(y / step);
      const fy = (y % step) / step;
      for (let x = 0; x < size; x += 1) {
        const gx = Math.floor(x / step);
        const fx = (x % step) / step;
        const at = (i, j) => grid[((gy + j) % cells) * cells + ((gx + i) % cells)];
        const upper = at(0, 0) * (1 - fx) + at(1, 0) * fx;
        const lower = at(0, 1) * (1 - fx) + at(1, 1) * fx;
        sum[y * size + x] += (upper * (1 - fy) + lower * fy) * weight;
      }
    }
  }
  return Uint8Array.from(sum, (value) => Math.min(235, Math.max(16, 30 + value)));
}

/** Reads a y4m file (4:2:0, 8 bit): yields `{ width, height, frameRate, luma, stamp }` per frame. */
export function* readClip(file) {
  const handle = openSync(file, 'r');
  try {
    const start = Buffer.alloc(256);
    readSync(handle, start, 0, start.length, 0);
    const end = start.indexOf('\n');
    const header = start.toString('latin1', 0, end);
    if (!header.startsWith('YUV4MPEG2 ')) throw new Error(`${file} is no y4m file`);
    const width = Number(header.match(/ W(\d+)/)[1]);
    const height = Number(header.match(/ H(\d+)/)[1]);
    const [, rate, scale] = header.match(/ F(\d+):(\d+)/);
    const colours = header.match(/ C(\S+)/)?.[1] ?? '420jpeg';
    if (!colours.startsWith('420')) throw new Error(`${file} is ${colours}, not 4:2:0`);
    const size = width * height + 2 * Math.ceil(width / 2) * Math.ceil(height / 2);
    const line = Buffer.alloc(128);
    const frame = Buffer.alloc(size);
    let position = end + 1;
    while (readSync(handle, line, 0, line.length, position) > 0) {
      const lineEnd = line.indexOf('\n');
      if (lineEnd < 0 || !line.toString('latin1', 0, lineEnd).startsWith('FRAME')) {
        throw new Error(`${file}: no frame at byte ${position}`);
      }
      position += lineEnd + 1;
      if (readSync(handle, frame, 0, size, position) !== size) throw new Error(`${file}: last frame is cut off`);
      position += size;
      const luma = frame.subarray(0, width * height);
      yield { width, height, frameRate: Number(rate) / Number(scale), luma, stamp: readStamp(luma, width) };
    }
  } finally {
    closeSync(handle);
  }
}
