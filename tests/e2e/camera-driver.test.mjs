// The camera through the real V4L2 kernel code: Debian's kernel with its `vivid` driver in a small
// virtual machine, and a whole call in there. Interpreted, hence small and slow pictures.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { runInGuest } from '../lab/guest.mjs';
import { Lab } from '../lab/lab.mjs';
import { binary } from '../lab/paths.mjs';
import { readClip } from '../lab/y4m.mjs';

test('a camera of the real V4L2 driver vivid is listed, opened, and seen by the other side', { timeout: 240_000 }, async (t) => {
  const lab = new Lab(t);
  const { exit, output, share } = await runInGuest(lab, `
set -x
export HOME=/tmp
/tmp/share/ahoy-peer devices --json > /tmp/share/devices.json
/tmp/share/ahoy-server --listen 127.0.0.1:9000 &
sleep 2
cd /tmp/share
/tmp/share/ahoy-peer call --server ws://127.0.0.1:9000 --camera device:/dev/video0 --microphone none --speaker none \\
  --resolution 320x180@15 --duration 25s > call.out 2>&1 &
caller=$!
for i in $(seq 60); do code=$(grep -oE '[0-9]+-[a-z]+-[a-z]+' call.out | head -1); [ -n "$code" ] && break; sleep 0.5; done
/tmp/share/ahoy-peer join "$code" --server ws://127.0.0.1:9000 --camera none --microphone none --speaker none \\
  --save-video seen.y4m --duration 15s
joined=$?
wait $caller
echo "ends: $joined $?"
cat call.out
`, {
    timeoutMs: 200_000,
    // Not run where they are: a checkout below /tmp is hidden there.
    copy: { 'ahoy-peer': binary('ahoy-peer'), 'ahoy-server': binary('ahoy-server') },
  });
  t.diagnostic(output.trim().split('\n').filter((line) => /^ends/.test(line)).join());
  assert.equal(exit, 0, output);
  assert.match(output, /^ends: 0 0$/m, output);
  const { cameras } = JSON.parse(readFileSync(path.join(share, 'devices.json'), 'utf8'));
  assert.match(cameras[0].label, /vivid/);
  const frames = [];
  for (const { width, height, luma } of readClip(path.join(share, 'seen.y4m'))) {
    let sum = 0;
    for (let at = 0; at < luma.length; at += 1) sum += luma[at] * ((at % 251) + 1);
    frames.push(sum);
    assert.ok(width >= 80 && height >= 44);
    assert.ok(new Set(luma).size > 20, 'vivid\'s colour bars, not an empty picture');
  }
  t.diagnostic(`${frames.length} frames arrived, ${new Set(frames).size} different`);
  assert.ok(frames.length > 20, `${frames.length} frames arrived`);
  assert.ok(new Set(frames).size > frames.length / 2, 'vivid\'s picture moves');
});
