// Calls between homes behind routers, in network namespaces: the pairs that need something each.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { ICE_SERVERS_V6, Internet, MANAGEMENT, SIGNALING } from '../lab/nat.mjs';
import { callBetween, startCall } from '../lab/nat-call.mjs';
import { sleep } from '../lab/process.mjs';

const DIRECT = ['host', 'srflx', 'prflx'];

for (const [kindA, kindB, pathsA] of [
  ['none', 'portRestricted', DIRECT],
  ['portRestricted', 'portRestricted', DIRECT],
  ['fullCone', 'symmetric', DIRECT],
  ['portRestricted', 'symmetric', undefined],
  ['symmetric', 'symmetric', undefined],
  ['udpBlocked', 'portRestricted', ['relay/tcp']],
  ['only443', 'symmetric', ['relay/tls']],
  ['ipv6Only', 'ipv6Only', DIRECT],
  ['ipv6Only', 'portRestricted', ['relay/udp']],
  ['doubleNat', 'portRestricted', DIRECT],
  ['dualStack', 'ipv6Only', DIRECT],
  ['dualStack', 'portRestricted', DIRECT],
]) {
  test(`${kindA} calls ${kindB}`, { timeout: 120_000 }, async (t) => {
    const [a, b] = await callBetween(new Lab(t), kindA, kindB, { signaling: SIGNALING });
    t.diagnostic(`${a.path} and ${b.path}, connected after ${Math.round(a.connectedMs)} ms`);
    if (pathsA) assert.ok(pathsA.includes(a.path), `${a.path}, expected one of ${pathsA}`);
    // Where both routers choose ports anew, one side at least is relayed.
    else assert.ok([a.path, b.path, a.remote, b.remote].some((path) => path.startsWith('relay')), JSON.stringify([a, b]));
  });
}

test('always relayed, although both could reach each other', { timeout: 120_000 }, async (t) => {
  const [a, b] = await callBetween(new Lab(t), 'none', 'none', { signaling: SIGNALING, args: [['--relay-only'], []] });
  assert.equal(a.path, 'relay/udp');
  // A check that comes through the relay may be faster than the candidate by way of the server.
  assert.ok(['relay', 'prflx'].includes(b.remote), b.remote);
});

// Whoever has IPv4 alone cannot ask this server where they are, so a relay lets in only who has no NAT.
for (const [kindA, kindB, ...args] of [
  ['ipv6Only', 'none'],
  ['dualStack', 'dualStack', '--relay-only'],
]) {
  test(`${kindA} calls ${kindB} with a server that has IPv6 alone`, { timeout: 120_000 }, async (t) => {
    const [a, b] = await callBetween(new Lab(t), kindA, kindB, { signaling: SIGNALING, iceServers: ICE_SERVERS_V6, args: [args, args] });
    t.diagnostic(`${a.path} and ${b.path}, connected after ${Math.round(a.connectedMs)} ms`);
    assert.equal(a.path, 'relay/udp');
  });
}

test('a computer that moves to another network goes on talking', { timeout: 120_000 }, async (t) => {
  const lab = new Lab(t);
  const internet = await Internet.start(lab, 'portRestricted', 'portRestricted', { management: true });
  const call = await startCall(lab, internet, { signaling: MANAGEMENT, seconds: 20 });
  await call.caller.output(/Connected\./, 30_000);
  await call.joiner.output(/Connected\./, 30_000);
  await sleep(2000);
  internet.homes[0].use('10.1.0.77');
  assert.equal((await call.joiner.end(60_000)).code, 0, call.joiner.describe());
  await call.caller.end(30_000);
  const stats = JSON.parse(readFileSync(call.stats[1], 'utf8'));
  assert.ok(stats.call.endedMs >= 19_000, JSON.stringify(stats.call));
  const video = stats.participants[0]['inbound-rtp:video'];
  t.diagnostic(`${video.framesReceived} pictures, ${video.freezeCount} freezes, ${video.totalFreezesDuration} s of them`);
  // 15 a second: without a new path they end after two seconds.
  assert.ok(video.framesReceived > 120, JSON.stringify(video));
});

for (const [kind, expected] of [
  ['none', ['udp-works', 'no-nat', 'relay-works']],
  ['portRestricted', ['udp-works', 'nat-passable']],
  ['symmetric', ['udp-works', 'nat-symmetric']],
  ['udpBlocked', ['udp-blocked', 'relay-works']],
  ['only443', ['udp-blocked']],
]) {
  test(`the doctor in a network of the kind ${kind}`, { timeout: 120_000 }, async (t) => {
    const lab = new Lab(t);
    const internet = await Internet.start(lab, kind, 'none');
    const doctor = internet.peer(0, ['doctor', '--json'], { label: 'doctor' });
    assert.equal((await doctor.end(60_000)).code, 0, doctor.describe());
    const findings = JSON.parse(doctor.stdout);
    t.diagnostic(findings.map(({ sentence }) => sentence).join(' '));
    const codes = findings.map(({ code }) => code);
    for (const code of expected) assert.ok(codes.includes(code), `${code} is not among ${codes}`);
    if (kind === 'only443') {
      const blocked = findings.find(({ code }) => code === 'udp-blocked');
      assert.match(blocked.sentence, /^This network blocks UDP\. Ahoy is relayed over TLS through turn\.lab: expect about \d+ ms more delay\.$/);
    }
  });
}
