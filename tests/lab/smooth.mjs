// Whether a picture moved all the time, on a machine that may itself stop for a moment.

import assert from 'node:assert/strict';

/** How long a single stop may last that is put down to the machine, in s. */
const STOP_SECONDS = 0.5;

/**
 * Fails when a received picture froze more than once or for long. One short freeze passes: these
 * calls run in real time, and a machine shared with others holds a program up for 0.2 s now and
 * then. What is wrong with a call shows again, or lasts.
 *
 * `video` has webrtc-stats' `freezeCount` and `totalFreezesDuration` (s) of the time in question.
 */
export function assertSmooth({ freezeCount, totalFreezesDuration }, what) {
  assert.equal(typeof freezeCount, 'number', `${what}: freezeCount`);
  assert.ok(
    freezeCount === 0 || (freezeCount === 1 && totalFreezesDuration < STOP_SECONDS),
    `${what}: ${freezeCount} freezes, ${totalFreezesDuration} s together`,
  );
}

/** The longest gap between two entries `[number, Unix ms, …]` of a log, and where it was, in words. */
export function longestGap(entries) {
  let longest = 0;
  let at = 0;
  for (let index = 1; index < entries.length; index += 1) {
    const gap = entries[index][1] - entries[index - 1][1];
    if (gap > longest) [longest, at] = [gap, index];
  }
  return longest === 0 ? 'none' : `${Math.round(longest)} ms between ${entries[at - 1][0]} and ${entries[at][0]}`;
}
