// Calls between two Ahoys and between two Chromiums behind the same bad networks, one after the
// other.

import { benchCall, glassToGlass, soundDelay } from '../lab/bench-call.mjs';
import { NETWORKS } from '../lab/network.mjs';
import { number, spread } from './figures.mjs';

const SETTLE_MS = 8000;
const MEASURE_MS = 20_000;
/** The drop is at 25 s, its end at 45 s after the first packet. */
const DROP = { settleMs: 14_000, measureMs: 50_000 };

/** Returns rows `[what, figure]`. `KINDS` leaves Ahoy or Chromium out. */
export async function measureNetworks(lab, names = Object.keys(NETWORKS)) {
  const kinds = (process.env.KINDS ?? 'ahoy,chromium').split(',');
  const rows = [];
  for (const name of names) {
    for (const kind of kinds) {
      const times = name === 'drop' ? DROP : { settleMs: SETTLE_MS, measureMs: MEASURE_MS };
      const sides = await benchCall(lab, {
        caller: kind, callee: kind, audio: 'pulse', source: 'camera', profile: 'release', network: NETWORKS[name], ...times,
      });
      rows.push([`${name}: ${kind}`, describe(sides)]);
    }
  }
  return rows;
}

/** From the caller to the callee. */
function describe({ caller, callee }) {
  const shown = callee.log.disp.map(([, at]) => at).sort((a, b) => a - b);
  const { frozen, longest } = freezes(shown, callee.seconds * 1000);
  const received = (8 * callee.grown('inbound-rtp:video', 'bytesReceived')) / callee.seconds / 1000;
  const concealed = callee.grown('inbound-rtp:audio', 'concealedSamples')
    / callee.grown('inbound-rtp:audio', 'totalSamplesReceived');
  const last = callee.stats.end['inbound-rtp:video'];
  return [
    `glass to glass ${spread(glassToGlass(caller, callee))}`,
    `${number(callee.grown('inbound-rtp:video', 'framesDecoded') / callee.seconds)} fps`,
    `width ${last?.frameWidth ?? '–'}`,
    `frozen ${number(frozen * 100)} %`,
    `longest gap ${number(longest, 0)} ms`,
    `${number(received, 0)} kbit/s`,
    `sound ${spread(soundDelay(caller, callee))}`,
    `concealed ${number(concealed * 100)} %`,
  ].join(', ');
}

/** Share of the time in freezes (webrtc-stats, freezeCount), and the longest gap in ms. */
export function freezes(shown, duration) {
  const gaps = shown.slice(1).map((at, index) => at - shown[index]);
  let frozen = 0;
  let mean = 33;
  for (const gap of gaps) {
    if (gap > Math.max(3 * mean, mean + 150)) frozen += gap;
    mean = 0.97 * mean + 0.03 * Math.min(gap, 500);
  }
  return { frozen: frozen / duration, longest: Math.max(0, ...gaps) };
}
