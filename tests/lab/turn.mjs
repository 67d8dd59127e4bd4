// A TURN server (coturn) on loopback: with `startLine` in front of it, whoever always uses a relay
// has a network as good or bad as the line.

import { freePort, listens } from './lab.mjs';
import { eventually } from './process.mjs';

const USER = 'lab';
const PASSWORD = 'labpass';

/** Starts the server. `at(port)`: it as a setting of a window, through another port if one is given. */
export async function startTurn(lab) {
  const port = await freePort();
  const program = lab.start('turnserver', [
    '-n', '--no-cli', '--no-tls', '--no-dtls', '--log-file=stdout', '--simple-log', '--allow-loopback-peers',
    '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', `--listening-port=${port}`,
    '--lt-cred-mech', '--realm=turn.lab', `--user=${USER}:${PASSWORD}`,
    `--pidfile=${lab.file('turn.pid')}`, `--userdb=${lab.file('turndb')}`,
  ], { label: 'turnserver' });
  await eventually(() => listens(port), 10_000, 'coturn listens')
    .catch((error) => { throw new Error(`${error.message}\n${program.describe()}`); });
  return {
    program,
    port,
    at: (through = port) => ({ url: `turn:127.0.0.1:${through}?transport=udp`, username: USER, credential: PASSWORD }),
    /** For `ahoy-peer`. */
    env: { AHOY_ICE_USERNAME: USER, AHOY_ICE_CREDENTIAL: PASSWORD },
  };
}
