// A call between two homes of `nat.mjs`, and what came of it.

import { readFileSync } from 'node:fs';
import { CODE } from './peer.mjs';
import { Internet } from './nat.mjs';

/** How long the one who joins stays, in s: a sample of the figures is taken every second. */
const SECONDS = 5;
/** Far longer than a call takes; a hang becomes a failure. */
const LIMIT_MS = 45_000;

const DEVICES = ['--camera', 'pattern', '--microphone', 'tone', '--speaker', 'none', '--resolution', '320x180@15'];

/**
 * Starts a call between the homes: the first one calls, the second one joins. `signaling`: one URL, or one per home.
 * `iceServers`: what both are told instead of all ways to the server.
 */
export async function startCall(lab, internet, { signaling, args = [[], []], seconds, iceServers } = {}) {
  const stats = [lab.file('a.json'), lab.file('b.json')];
  const common = (home) => ['--server', [signaling].flat().at(home) ?? signaling, ...DEVICES, '--stats', stats[home], ...args[home]];
  const caller = internet.peer(0, ['call', '--name', 'ann', ...common(0)], { label: 'ann', iceServers });
  const code = (await caller.output(CODE, 20_000))[0];
  const joiner = internet.peer(1, ['join', code, '--name', 'ben', ...common(1), ...(seconds ? ['--duration', `${seconds}s`] : [])], { label: 'ben', iceServers });
  return { caller, joiner, stats };
}

/**
 * A whole call between two kinds of homes. Returns what each side saw:
 * `{ path, connectedMs, pictureMs }`, counted from the moment it knew of the other.
 */
export async function callBetween(lab, kindA, kindB, { signaling, args, iceServers } = {}) {
  const internet = await Internet.start(lab, kindA, kindB);
  const { caller, joiner, stats } = await startCall(lab, internet, { signaling, args, iceServers, seconds: SECONDS });
  const ends = await Promise.all([joiner.end(LIMIT_MS), caller.end(LIMIT_MS)]);
  const problem = () => `${kindA} × ${kindB}\n${caller.describe()}\n${joiner.describe()}\n${internet.turn.describe().slice(0, 3000)}`;
  if (ends.some(({ code }) => code !== 0)) throw new Error(problem());
  const sides = stats.map((file) => seen(JSON.parse(readFileSync(file, 'utf8'))));
  if (sides.some((side) => side.path === undefined || side.pictureMs === undefined)) throw new Error(problem());
  return sides;
}

function seen({ call, participants: [other] }) {
  const pair = other?.pair ?? {};
  const after = (moment) => (moment === undefined ? undefined : moment - call.metMs);
  const relay = pair.relayProtocol ? `relay/${pair.relayProtocol}` : pair.localCandidateType;
  return {
    path: relay,
    remote: pair.remoteCandidateType,
    connectedMs: after(call.connectedMs),
    pictureMs: after(call.firstPictureMs),
  };
}
