// Samples: generated speech-like sound and tones, WAV files, and finding a tone in a recording.

import { readFileSync, writeFileSync } from 'node:fs';

/** Sample rate of everything here, in Hz. */
export const RATE = 48_000;

/** A sine of `frequency` Hz at `level` (peak, 0..1). */
export function tone(frequency, seconds, level = 0.4) {
  return Float32Array.from({ length: Math.round(seconds * RATE) }, (_, n) =>
    level * Math.sin((2 * Math.PI * frequency * n) / RATE));
}

/** Something with the rhythm and spectrum of speech: a buzzing voice in syllables of 5 per second. */
export function speechLike(seconds, level = 0.4) {
  const pitch = 130;
  return Float32Array.from({ length: Math.round(seconds * RATE) }, (_, n) => {
    const time = n / RATE;
    const syllable = Math.max(0, Math.sin(2 * Math.PI * 2.5 * time)) ** 0.5;
    let sum = 0;
    for (let harmonic = 1; harmonic <= 20; harmonic += 1) {
      const hz = pitch * harmonic * (1 + 0.02 * Math.sin(2 * Math.PI * 0.7 * time));
      const formant = 1 / (1 + ((hz - 600) / 300) ** 2) + 0.5 / (1 + ((hz - 1700) / 400) ** 2);
      sum += formant * Math.sin(2 * Math.PI * pitch * harmonic * time);
    }
    return level * 0.4 * syllable * sum;
  });
}

/**
 * A voice whose pitch glides from 100 to 220 Hz within each second, of which it is silent half:
 * no piece of it resembles another, so that a delay can be read from it.
 */
export function glidingVoice(seconds, level = 0.5) {
  let phase = 0;
  return Float32Array.from({ length: Math.round(seconds * RATE) }, (_, n) => {
    const time = (n / RATE) % 1;
    const pitch = 100 + 240 * time;
    phase += (2 * Math.PI * pitch) / RATE;
    if (time > 0.5) return 0;
    let sum = 0;
    for (let harmonic = 1; harmonic * pitch < 4000; harmonic += 1) {
      const hz = harmonic * pitch;
      sum += (1 / (1 + ((hz - 600) / 300) ** 2) + 0.5 / (1 + ((hz - 1700) / 400) ** 2)) * Math.sin(harmonic * phase);
    }
    return level * 0.4 * Math.sin(2 * Math.PI * time) ** 0.5 * sum;
  });
}

/** Writes 16 bit PCM at 48 kHz: mono, or with a second channel stereo. */
export function writeWav(file, left, right) {
  const channels = right ? 2 : 1;
  const samples = right ? Float32Array.from({ length: 2 * left.length }, (_, n) => (n % 2 ? right : left)[n >> 1]) : left;
  const data = Buffer.alloc(44 + samples.length * 2);
  data.write('RIFF', 0);
  data.writeUInt32LE(36 + samples.length * 2, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(channels, 22);
  data.writeUInt32LE(RATE, 24);
  data.writeUInt32LE(RATE * 2 * channels, 28);
  data.writeUInt16LE(2 * channels, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((sample, index) => {
    data.writeInt16LE(Math.round(Math.max(-1, Math.min(1, sample)) * 32767), 44 + index * 2);
  });
  writeFileSync(file, data);
  return file;
}

/** Reads a WAV file (16 bit or float, any channel count): `{ rate, samples }`, first channel. */
export function readWav(file) {
  const data = readFileSync(file);
  if (data.toString('latin1', 0, 4) !== 'RIFF' || data.toString('latin1', 8, 12) !== 'WAVE') {
    throw new Error(`${file} is no WAV file`);
  }
  let format;
  for (let at = 12; at + 8 <= data.length; ) {
    const name = data.toString('latin1', at, at + 4);
    const size = Math.min(data.readUInt32LE(at + 4), data.length - at - 8);
    if (name === 'fmt ') {
      format = {
        code: data.readUInt16LE(at + 8) === 0xfffe ? data.readUInt16LE(at + 32) : data.readUInt16LE(at + 8),
        channels: data.readUInt16LE(at + 10),
        rate: data.readUInt32LE(at + 12),
        bits: data.readUInt16LE(at + 22),
      };
    } else if (name === 'data') {
      const stride = (format.channels * format.bits) / 8;
      const read = format.code === 3 && format.bits === 32
        ? (offset) => data.readFloatLE(offset)
        : format.bits === 16
          ? (offset) => data.readInt16LE(offset) / 32768
          : undefined;
      if (!read) throw new Error(`${file}: format ${format.code} with ${format.bits} bits is not read here`);
      const samples = new Float32Array(Math.floor(size / stride));
      for (let index = 0; index < samples.length; index += 1) samples[index] = read(at + 8 + index * stride);
      return { rate: format.rate, samples };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error(`${file} has no data`);
}

/** Root mean square of samples, 0..1. */
export function rms(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length);
}

/** Amplitude (peak, 0..1) of the part of `samples` at `frequency` Hz (Goertzel's algorithm). */
export function amplitudeAt(samples, frequency, rate = RATE) {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / rate);
  let previous = 0;
  let beforePrevious = 0;
  for (const sample of samples) {
    const value = sample + coefficient * previous - beforePrevious;
    beforePrevious = previous;
    previous = value;
  }
  const power = previous ** 2 + beforePrevious ** 2 - coefficient * previous * beforePrevious;
  return samples.length === 0 ? 0 : (2 * Math.sqrt(Math.max(0, power))) / samples.length;
}

/**
 * Share (0..1) of windows of 100 ms in which `frequency` is clearly there: at least `level` strong
 * and more than half of the window's energy. Shorter windows (`windowMs`) forgive a receiver that
 * plays a little faster or slower, which breaks a tone's phase.
 */
export function toneShare(samples, frequency, { level = 0.02, rate = RATE, windowMs = 100 } = {}) {
  const size = Math.round((rate * windowMs) / 1000);
  let found = 0;
  let windows = 0;
  for (let at = 0; at + size <= samples.length; at += size) {
    const window = samples.subarray(at, at + size);
    const amplitude = amplitudeAt(window, frequency, rate);
    windows += 1;
    if (amplitude >= level && amplitude ** 2 / 2 > 0.5 * rms(window) ** 2) found += 1;
  }
  return windows === 0 ? 0 : found / windows;
}

/** The loudest frequency of a recording on a grid of `step` Hz, for messages of failed tests. */
export function strongest(samples, rate = RATE, from = 100, to = 4000, step = 20) {
  let best = { frequency: 0, amplitude: 0 };
  for (let frequency = from; frequency <= to; frequency += step) {
    const amplitude = amplitudeAt(samples.subarray(0, rate), frequency, rate);
    if (amplitude > best.amplitude) best = { frequency, amplitude };
  }
  return best;
}
