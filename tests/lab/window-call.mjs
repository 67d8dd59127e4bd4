// Two windows in a call, begun as two people do it.

import { id, openApp } from './app.mjs';
import { startDisplay } from './display.mjs';
import { freePorts } from './lab.mjs';
import { eventually } from './process.mjs';
import { startSound } from './pulse.mjs';
import { rms, tone, toneShare, writeWav } from './sound.mjs';
import { clip } from './y4m.mjs';

/** "New call" in one window, its code typed in the other and joined. Returns the code. */
export async function callByCode(host, guest) {
  await host.click('new-call');
  const code = await readCode(host);
  await joinWith(guest, code);
  await Promise.all([host, guest].map((app) => app.shown('hang-up', 15_000)));
  return code;
}

/** The code that a waiting window shows. */
export async function readCode(host) {
  return eventually(() => host.session.attribute(id('code-display'), 'data-code'), 10_000, 'a code is shown');
}

/** Types a code into the home screen's field and joins. */
export async function joinWith(guest, code) {
  await guest.type('code-field', code);
  await guest.click('join');
}

/** Waits until the screen shows a picture that moves; returns the frame numbers seen. */
export async function assertMoves(app, testId, { timeoutMs = 15_000, ...options } = {}) {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const left = Math.max(0, end - performance.now());
    const stamps = await app.stamps(testId, { count: 4, everyMs: 350, timeoutMs: left, ...options });
    const readable = stamps.filter((stamp) => stamp !== undefined);
    // One repetition is a short freeze, or a clip that has come round.
    if (readable.length >= 3 && new Set(readable).size >= 3) return stamps;
    if (performance.now() > end) throw new Error(`${app.name} shows frames ${stamps.join(', ')} in "${testId}"`);
  }
}

/**
 * Waits until a speaker plays a tone of `frequency` Hz most of the time (0.9 to 1 of it where the
 * machine has nothing else to do); returns what was measured of it last, as text.
 */
export async function assertHears(name, sound, frequency, timeoutMs = 25_000) {
  let seen;
  await eventually(async () => {
    const samples = await sound.record(2);
    const share = toneShare(samples, frequency, { windowMs: 30 });
    seen = `${frequency} Hz in ${share.toFixed(2)} of 2 s, rms ${rms(samples).toFixed(3)}`;
    return share > 0.85;
  }, timeoutMs, `${name} hears ${frequency} Hz`).catch((error) => {
    throw new Error(`${error.message}; last: ${seen}`);
  });
  return seen;
}

/**
 * What the windows of these tests send, so that two of them, with software drawing, leave a
 * machine of two processors some time. The bench measures 720p.
 */
export const MODERATE = { resolution: { width: 640, height: 360 }, frameRate: 30 };

/** For tests that send tones, which noise suppression takes for noise and gain control changes. */
export const FOR_TONES = { echoCancellation: true, noiseSuppression: false, autoGainControl: false, originalSound: false };

/**
 * Opens the windows of Ann (light) and Ben (dark) side by side, each with its own sound. `settings` of
 * one of them may be a function of the sound server that makes them.
 */
export async function openTwo(lab, { settings = {}, ann = {}, ben = {}, profile } = {}) {
  const display = await startDisplay(lab, { width: 2600, height: 860 });
  const people = { ann: { theme: 'light', tone: 1000, ...ann }, ben: { theme: 'dark', tone: 700, ...ben } };
  const env = { AHOY_EMBEDDED_PORTS: await freePorts() };
  const opened = {};
  for (const [index, [key, person]] of Object.entries(people).entries()) {
    const sound = await startSound(lab, { name: `${key}-sound`, microphones: person.microphones });
    const own = typeof person.settings === 'function' ? await person.settings(sound) : person.settings;
    if (person.tone) sound.speak(writeWav(lab.file(`${key}.wav`), tone(person.tone, 240, 0.3)));
    const app = await openApp(lab, {
      display,
      sound,
      env: { ...env, ...person.env },
      cameras: person.cameras,
      profile,
      name: key,
      settings: {
        name: key === 'ann' ? 'Ann' : 'Ben', theme: person.theme, constraints: MODERATE, processing: FOR_TONES,
        camera: `file:${clip(lab, { width: 640, height: 360 })}`, ...settings, ...own,
      },
      box: { x: 10 + index * 1290, y: 30, width: 1280, height: 800 },
    });
    opened[key] = { app, sound };
  }
  return { display, ...opened };
}
