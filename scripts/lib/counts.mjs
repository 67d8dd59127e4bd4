// Reads the log of a test run and counts: cargo test, Vitest, node --test and Playwright.
//
//   node counts.mjs LOG      prints "PASSED FAILED SKIPPED"

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const colours = /\u001b\[[0-9;]*m/g;

const kinds = {
  passed: 'passed', pass: 'passed', flaky: 'passed',
  failed: 'failed', fail: 'failed', cancelled: 'failed', interrupted: 'failed',
  ignored: 'skipped', skipped: 'skipped', todo: 'skipped', 'did not run': 'skipped',
};

/** The part of a line that holds figures, or nothing. */
function figures(line) {
  const cargo = /^test result: \w+\. (.*)$/.exec(line);
  if (cargo) return cargo[1];
  const vitest = /^\s*Tests\s+(\d+ .*)$/.exec(line);
  if (vitest) return vitest[1];
  const node = /^(?:#|ℹ) (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line);
  if (node) return `${node[2]} ${node[1]}`;
  const playwright = /^\s{2}(\d+ (?:passed|failed|flaky|interrupted|skipped|did not run))(?: \(.*\))?$/.exec(line);
  return playwright ? playwright[1] : '';
}

/** Sums of all summaries in the text of a log. */
export function count(log) {
  const sums = { passed: 0, failed: 0, skipped: 0 };
  for (const line of log.replace(colours, '').split(/\r?\n/)) {
    for (const [, number, word] of figures(line).matchAll(/(\d+) (did not run|[a-z]+)/g)) {
      const kind = kinds[word];
      if (kind) sums[kind] += Number(number);
    }
  }
  return sums;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { passed, failed, skipped } = count(readFileSync(process.argv[2], 'utf8'));
  console.log(`${passed} ${failed} ${skipped}`);
}
