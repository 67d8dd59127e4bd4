// `ahoy-server` and `ahoy-peer` as fixtures.

import { existsSync, readFileSync } from 'node:fs';
import { freePort, listens } from './lab.mjs';
import { binary } from './paths.mjs';
import { eventually } from './process.mjs';

/** A room code as people read it. */
export const CODE = /\b\d{1,9}-[a-z]+-[a-z]+\b/;

/** Starts a server on a free port of the loopback interface, or on the one that is given. */
export async function startServer(lab, args = [], { profile, port: given } = {}) {
  const port = given ?? await freePort();
  const program = lab.start(binary('ahoy-server', profile), ['--listen', `127.0.0.1:${port}`, ...args], { label: 'ahoy-server' });
  await eventually(() => listens(port), 20_000, 'ahoy-server listens').catch((error) => {
    throw new Error(`${error.message}\n${program.describe()}`);
  });
  return { program, port, url: `ws://127.0.0.1:${port}` };
}

/**
 * Starts a participant. `command`: `call` or `join`. `options`: `code`, `server` (URL), `camera`,
 * `microphone`, `speaker` (texts of the command line), `saveVideo`, `resolution`, `duration`,
 * `stats` (paths and texts), `env`, `args`, `computer` (one of `startNetworkOf`, otherwise this one).
 * Devices are off unless asked for.
 */
export function startPeer(lab, command, options = {}) {
  const args = [command];
  if (options.code) args.push(options.code);
  const flags = {
    server: options.server,
    camera: options.camera ?? 'none',
    microphone: options.microphone ?? 'none',
    speaker: options.speaker ?? 'none',
    'save-video': options.saveVideo,
    resolution: options.resolution,
    duration: options.duration,
    stats: options.stats,
    name: options.name,
  };
  for (const [flag, value] of Object.entries(flags)) if (value !== undefined) args.push(`--${flag}`, value);
  args.push(...(options.args ?? []));
  const [file, ...before] = [...(options.computer?.enter ?? []), binary('ahoy-peer', options.profile)];
  const program = lab.start(file, [...before, ...args],
    { env: { RUST_LOG: process.env.RUST_LOG, ...options.env }, label: `ahoy-peer ${command} (${options.name ?? ''})` });
  return new Peer(program, options);
}

class Peer {
  constructor(program, options) {
    this.program = program;
    this.options = options;
  }

  /** The code of the call that it began. */
  async code(timeoutMs = 8000) {
    return (await this.program.output(CODE, timeoutMs))[0];
  }

  /** Waits for its own end; returns the exit code. */
  async end(timeoutMs = 30_000) {
    return (await this.program.end(timeoutMs)).code;
  }

  /** The statistics that it wrote at its end. */
  stats() {
    if (!existsSync(this.options.stats)) throw new Error(`no statistics were written\n${this.program.describe()}`);
    return JSON.parse(readFileSync(this.options.stats, 'utf8'));
  }
}
