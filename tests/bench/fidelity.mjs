// How much of a picture arrives over the same slow path: PSNR of what Ahoy and Chromium send, both
// received by Ahoy, which knows the clip. Smaller pictures are scaled up before they are compared.

import { benchCall } from '../lab/bench-call.mjs';
import { number } from './figures.mjs';

/** Capacities of the path, kbit/s. */
const CAPACITIES = [500, 1000, 2000];
/** Long enough for both to have found what the path carries. */
const SETTLE_MS = 25_000;
const MEASURE_MS = 12_000;

/** Returns rows `[what, figure]`. */
export async function measureFidelity(lab) {
  const rows = [];
  for (const kbps of CAPACITIES) {
    for (const kind of ['ahoy', 'chromium']) {
      const { callee } = await benchCall(lab, {
        caller: kind, callee: 'ahoy', audio: 'pulse', source: 'camera', profile: 'release', network: { kbps, delayMs: 20 },
        settleMs: SETTLE_MS, measureMs: MEASURE_MS, env: { caller: {}, callee: { BENCH_PSNR: '1' } },
      });
      const received = (8 * callee.grown('inbound-rtp:video', 'bytesReceived')) / callee.seconds / 1000;
      const { psnr } = callee.stats.end.fidelity;
      rows.push([`${kbps} kbit/s: ${kind} → ahoy`, [
        `PSNR ${psnr === null ? '–' : number(psnr, 2)} dB`,
        `${number(received, 0)} kbit/s of video`,
        `${number(callee.grown('inbound-rtp:video', 'framesDecoded') / callee.seconds)} fps`,
        `width ${callee.stats.end['inbound-rtp:video']?.frameWidth ?? '–'}`,
      ].join(', ')]);
    }
  }
  return rows;
}
