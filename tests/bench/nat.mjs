// The matrix of `docs/network.md`: every kind of network calls every kind, and the way that is
// found. As root: node bench/nat.mjs [KIND ...]

import { Lab } from '../lab/lab.mjs';
import { NETWORKS, SIGNALING } from '../lab/nat.mjs';
import { callBetween } from '../lab/nat-call.mjs';

const wanted = process.argv.slice(2);
for (const kind of wanted) if (!(kind in NETWORKS)) throw new Error(`no such network: ${kind}; there are ${Object.keys(NETWORKS).join(' ')}`);
const kinds = wanted.length > 0 ? wanted : Object.keys(NETWORKS);

console.log('| A | B | path of A | path of B | connected ms | first picture ms |');
console.log('|---|---|---|---|---|---|');
let failed = 0;
let tried = 0;
for (const [index, kindA] of kinds.entries()) {
  for (const kindB of kinds.slice(index)) {
    tried += 1;
    const lab = new Lab();
    try {
      const [a, b] = await callBetween(lab, kindA, kindB, { signaling: SIGNALING });
      const worst = (of) => Math.round(Math.max(of(a), of(b)));
      console.log(`| ${NETWORKS[kindA]} | ${NETWORKS[kindB]} | ${a.path} | ${b.path} | ${worst((side) => side.connectedMs)} | ${worst((side) => side.pictureMs)} |`);
    } catch (error) {
      failed += 1;
      console.log(`| ${NETWORKS[kindA]} | ${NETWORKS[kindB]} | failed | | | |`);
      console.error(error.message);
    } finally {
      await lab.close();
    }
  }
}
console.log(`\n${tried - failed} of ${tried} connected`);
process.exitCode = failed > 0 ? 1 : 0;
