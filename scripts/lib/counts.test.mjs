import assert from 'node:assert/strict';
import { test } from 'node:test';

import { count } from './counts.mjs';

const sums = (passed, failed, skipped) => ({ passed, failed, skipped });

test('cargo prints one line per test binary', () => {
  const log = `running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
`;
  assert.deepEqual(count(log), sums(6, 1, 1));
});

test('Vitest counts files and tests; only tests matter', () => {
  const log = ` Test Files  1 failed | 3 passed (4)
\u001b[2m      Tests \u001b[22m \u001b[1m\u001b[31m1 failed\u001b[39m\u001b[22m\u001b[2m | \u001b[22m\u001b[1m\u001b[32m17 passed\u001b[39m\u001b[22m | 2 skipped (20)
`;
  assert.deepEqual(count(log), sums(17, 1, 2));
});

test('node --test counts in both of its reporters', () => {
  assert.deepEqual(count('# tests 3\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 0\n'), sums(2, 1, 0));
  assert.deepEqual(count('ℹ tests 3\nℹ pass 1\nℹ fail 0\nℹ cancelled 2\n'), sums(1, 2, 0));
});

test('Playwright lists what occurred', () => {
  assert.deepEqual(count('  1 failed\n    a.spec.ts:3:1 › x\n  2 did not run\n  9 passed (4.2s)\n'), sums(9, 1, 2));
});

test('prose with numbers is no result', () => {
  assert.deepEqual(count('received 30 passed frames\nTests are run\n12 failed attempts\n'), sums(0, 0, 0));
});
