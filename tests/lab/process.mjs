// Starting programs so that none outlives its test: every program leads its own process group,
// every wait has an end, and whatever is left is killed when this process ends.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { program } from './paths.mjs';

export { sleep };

/** Output that is kept per stream, in characters; older text is dropped. */
const OUTPUT_KEPT = 512 * 1024;
/** How long a program may take to end after SIGTERM before SIGKILL, in ms. */
const GRACE_MS = 3000;

/** How long output may still arrive after the program's end, in ms. */
const PIPE_DRAIN_MS = 1000;

const running = new Set();

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

process.on('exit', () => {
  for (const pid of running) signalGroup(pid, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(1));
}

/** A started program. */
export class Program {
  #child;
  #waiters = new Set();

  constructor(child, label, textStreams) {
    this.#child = child;
    this.label = label;
    this.pid = child.pid;
    this.stdout = '';
    this.stderr = '';
    this.exited = new Promise((resolve) => {
      child.on('error', (error) => {
        this.startError = error;
        this.exit = { code: null, signal: null };
        resolve(this.exit);
      });
      const ended = () => {
        resolve(this.exit);
        this.#wake();
      };
      child.on('exit', (code, signal) => {
        this.exit = { code, signal };
        // A descendant that left the group can hold the pipes open for ever: don't wait for it.
        setTimeout(ended, PIPE_DRAIN_MS).unref();
      });
      child.on('close', ended);
    });
    for (const name of textStreams) {
      child[name].setEncoding('utf8').on('data', (text) => {
        this[name] = (this[name] + text).slice(-OUTPUT_KEPT);
        this.#wake();
      });
    }
  }

  #wake() {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Standard input. */
  get stdin() {
    return this.#child.stdin;
  }

  /** Whether it still runs. */
  get alive() {
    return this.exit === undefined;
  }

  /** What it wrote so far, for messages of failed tests. */
  describe() {
    const state = this.alive ? 'running' : `ended with ${this.exit.code ?? this.exit.signal}`;
    return `${this.label} (${state})\n--- stdout\n${this.stdout.slice(-4000)}\n--- stderr\n${this.stderr.slice(-4000)}`;
  }

  /** Waits until its output (both streams) matches; returns the match. Fails when it ends first. */
  async output(pattern, timeoutMs = 10_000) {
    return this.until(
      () => this.stdout.match(pattern) ?? this.stderr.match(pattern),
      timeoutMs,
      `output matching ${pattern}`,
    );
  }

  /** Waits until `test()` is truthy; looks again whenever the program writes something. */
  async until(test, timeoutMs, what) {
    let timer;
    let look;
    const result = await new Promise((resolve) => {
      look = () => {
        const found = test();
        if (found) resolve({ found });
        else if (this.startError) resolve({ problem: this.startError.message });
        else if (!this.alive) resolve({ problem: 'it ended' });
      };
      timer = setTimeout(() => resolve({ problem: `${timeoutMs} ms passed` }), timeoutMs);
      this.#waiters.add(look);
      this.exited.then(look);
      look();
    });
    clearTimeout(timer);
    this.#waiters.delete(look);
    if (result.problem) throw new Error(`waiting for ${what}: ${result.problem}\n${this.describe()}`);
    return result.found;
  }

  /** Waits for its end; returns `{ code, signal }`. Kills it and fails when that takes too long. */
  async end(timeoutMs = 10_000) {
    const late = Symbol('late');
    const timer = new AbortController();
    const result = await Promise.race([
      this.exited,
      sleep(timeoutMs, late, { signal: timer.signal }).catch(() => late),
    ]);
    timer.abort();
    if (result === late) {
      const text = this.describe();
      await this.kill();
      throw new Error(`${this.label} did not end within ${timeoutMs} ms\n${text}`);
    }
    if (this.startError) throw this.startError;
    return result;
  }

  /** Sends a signal to the program itself, not to its group. */
  signal(name) {
    this.#child.kill(name);
  }

  /** SIGTERM to the whole group, SIGKILL to what is left of it after a grace period. */
  async stop() {
    if (this.pid === undefined) return;
    if (this.alive) {
      signalGroup(this.pid, 'SIGTERM');
      const timer = new AbortController();
      await Promise.race([
        this.exited,
        sleep(GRACE_MS, undefined, { signal: timer.signal }).catch(() => {}),
      ]);
      timer.abort();
    }
    await this.kill();
  }

  /** SIGKILL to the whole group, as after a crash or `kill -9`. */
  async kill() {
    if (this.pid === undefined || !running.has(this.pid)) return;
    signalGroup(this.pid, 'SIGKILL');
    await this.exited;
    running.delete(this.pid); // its number can belong to somebody else from now on
  }
}

/**
 * Starts a program. `options`: `env` (added to ours; `undefined` removes one), `cwd`, `label`,
 * `stdin` (true for a pipe), `binaryOutput` (a function that gets the raw chunks of stdout).
 */
export function start(file, args = [], options = {}) {
  const env = { ...process.env, ...options.env };
  for (const key of Object.keys(env)) if (env[key] === undefined) delete env[key];
  const child = spawn(file.includes('/') ? file : program(file), args, {
    cwd: options.cwd,
    env,
    detached: true, // leads a new process group
    stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  });
  if (child.pid !== undefined) running.add(child.pid);
  if (options.binaryOutput) child.stdout.on('data', options.binaryOutput);
  const label = options.label ?? [file.split('/').pop(), ...args].join(' ');
  return new Program(child, label, options.binaryOutput ? ['stderr'] : ['stdout', 'stderr']);
}

/** Runs a program to its end; returns `{ code, signal, stdout, stderr }`. */
export async function run(file, args = [], options = {}) {
  const started = start(file, args, options);
  if (options.input !== undefined) started.stdin.end(options.input);
  const { code, signal } = await started.end(options.timeoutMs ?? 20_000);
  return { code, signal, stdout: started.stdout, stderr: started.stderr };
}

/** Like [`run`], but anything other than exit code 0 is an error. */
export async function check(file, args = [], options = {}) {
  const result = await run(file, args, options);
  if (result.code !== 0) {
    throw new Error(`${file} ${args.join(' ')}: exit ${result.code ?? result.signal}\n${result.stderr}${result.stdout}`);
  }
  return result;
}

/** Runs a program and returns its raw standard output. */
export async function capture(file, args = [], options = {}) {
  const chunks = [];
  await check(file, args, { ...options, binaryOutput: (chunk) => chunks.push(chunk) });
  return Buffer.concat(chunks);
}

/** Waits until `test()` (may be async) is truthy and returns that; throws after `timeoutMs`. */
export async function eventually(test, timeoutMs, what, everyMs = 100) {
  const end = performance.now() + timeoutMs;
  let problem;
  for (;;) {
    try {
      const found = await test();
      if (found) return found;
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    if (performance.now() >= end) {
      throw new Error(`${what}: not within ${timeoutMs} ms${problem ? `; last problem: ${problem.message}` : ''}`);
    }
    await sleep(everyMs);
  }
}

/** Process ids of a program and of everything it started. */
export function tree(root) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // gone in the meantime
    }
  }
  const found = [];
  const open = [root];
  while (open.length > 0) {
    const pid = open.pop();
    found.push(pid);
    open.push(...(children.get(pid) ?? []));
  }
  return found;
}

/** CPU seconds (user and system) used so far by these processes and their ended children. */
export function cpuSeconds(pids) {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number);
      ticks += fields[11] + fields[12] + fields[13] + fields[14];
    } catch {
      // gone in the meantime
    }
  }
  return ticks / 100; // USER_HZ is 100 on every Linux that we meet
}

/** CPU seconds used so far by the threads of this process, by name: those of one name together. */
export function threadSeconds(pid) {
  const seconds = {};
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const name = readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim();
      // Nanoseconds: ticks would be too coarse for a thread that works a tenth of a millisecond at a time.
      const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
      seconds[name] = (seconds[name] ?? 0) + Number(nanoseconds) / 1e9;
    } catch {
      // gone in the meantime
    }
  }
  return seconds;
}

/** Memory of these processes in MB: `{ rss, pss }`. */
export function memory(pids) {
  const sum = { rss: 0, pss: 0 };
  for (const pid of pids) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      sum.rss += Number(text.match(/^Rss:\s+(\d+)/m)?.[1] ?? 0);
      sum.pss += Number(text.match(/^Pss:\s+(\d+)/m)?.[1] ?? 0);
    } catch {
      // gone in the meantime
    }
  }
  return { rss: sum.rss / 1024, pss: sum.pss / 1024 };
}
