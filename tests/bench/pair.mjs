// A 720p30 call between two sides of the bench endpoint.

import { benchCall, glassToGlass, soundDelay } from '../lab/bench-call.mjs';
import { number, spread } from './figures.mjs';

/** Time until the first mark, in ms: Chromium needs it to send full size. */
const SETTLE_MS = 26_000;
const MEASURE_MS = 12_000;

/** Returns rows `[what, figure]`. */
export async function measurePair(lab, caller, callee) {
  const sides = await benchCall(lab, {
    caller, callee, audio: 'pulse', settleMs: SETTLE_MS, measureMs: MEASURE_MS, source: 'camera', profile: 'release',
  });
  const name = `${caller} → ${callee}`;
  const both = [sides.caller, sides.callee];
  const problems = both.flatMap((side) => side.errors);
  return [
    ...direction(`${caller} (caller) → ${callee}`, sides.caller, sides.callee),
    ...direction(`${callee} → ${caller} (caller)`, sides.callee, sides.caller),
    ...both.map((side) => [`${name}: CPU of the ${side.role} (${side.kind})`, `${number(side.cores, 2)} cores`]),
    ...both.map((side) => [`${name}: memory of the ${side.role} (${side.kind})`,
      `${number(side.memory.pss, 0)} MB PSS, ${number(side.memory.rss, 0)} MB RSS`]),
    [`${name}: offer to first picture`, `${number(firstPicture(sides), 0)} ms`],
    [`${name}: offer to 720p`, fullSize(sides)],
    ...(problems.length > 0 ? [[`${name}: reported errors`, problems.join('; ')]] : []),
  ];
}

function direction(name, from, to) {
  const seconds = to.seconds;
  const frames = to.grown('inbound-rtp:video', 'framesDecoded');
  const perFrame = (side, entry, time, count) => (1000 * side.grown(entry, time)) / side.grown(entry, count);
  return [
    [`${name}: glass to glass p50/p95`, spread(glassToGlass(from, to))],
    [`${name}: picture`, `${number(frames / seconds)} fps, width ${to.stats.end['inbound-rtp:video']?.frameWidth ?? '–'}, `
      + `${number((8 * to.grown('inbound-rtp:video', 'bytesReceived')) / seconds / 1e6, 2)} Mbit/s, `
      + `${to.grown('inbound-rtp:video', 'freezeCount') ?? '–'} freezes`],
    [`${name}: encode/decode a frame`, `${number(perFrame(from, 'outbound-rtp:video', 'totalEncodeTime', 'framesEncoded'))}/`
      + `${number(perFrame(to, 'inbound-rtp:video', 'totalDecodeTime', 'framesDecoded'))} ms`],
    [`${name}: sound p50/p95`, spread(soundDelay(from, to))],
  ];
}

const firstPicture = ({ caller, callee }) =>
  Math.max(caller.events.firstFrame, callee.events.firstFrame) - caller.events.createOffer;

function fullSize({ caller, callee }) {
  const at = [caller, callee].map((side) => side.events.fullRes);
  return at.every((moment) => moment !== undefined)
    ? `${number((Math.max(...at) - caller.events.createOffer) / 1000)} s`
    : 'not reached on both sides';
}
