// A measured call between two sides, each `ahoy-peer bench` or Chromium: starts them, relays
// their signaling and collects their figures.

import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { WebSocketServer } from 'ws';
import { openChromium, pages } from './chromium.mjs';
import { startNetwork } from './network.mjs';
import { binary } from './paths.mjs';
import { cpuSeconds, eventually, memory, sleep, start, tree } from './process.mjs';
import { clip as makeClip } from './y4m.mjs';

/** How long a side may take until it is ready, in ms. */
const READY_MS = 30_000;
/** How long from `start` until both sides have shown a picture, in ms. */
const PICTURE_MS = 20_000;

/**
 * Makes a call. `caller` and `callee` are `'ahoy'` or `'chromium'`.
 *
 * - `video`: `WxH@FPS`; `audio`: `mic` or `pulse`
 * - `settleMs`: from the first pictures to the first mark; `measureMs`: between the marks
 * - `audio`: besides `devices`, microphone and speaker of the sound server of `env` with echo cancellation
 *   and the like, and `unprocessed`, the same without
 * - `env`: environment, or one for each role
 * - `meanwhile`: done after the first pictures, with the two sides
 * - `source`: what Chromium sends, `canvas` (numbers count up) or `camera` (the clip)
 * - `profile`: cargo profile of `ahoy-peer`
 * - `network`: conditions of the network between them, see `network.mjs`; without, there is none
 *
 * Returns `{ caller, callee }`, each a [`Side`] with everything it reported.
 */
export async function benchCall(lab, {
  caller, callee, video = '1280x720@30', audio = 'mic', settleMs = 2000, measureMs = 8000, source = 'canvas', profile, env,
  network,
  meanwhile = async (_sides) => {},
}) {
  const clip = makeClip(lab, size(video));
  const relay = await startRelay(lab);
  const sides = { caller: new Side('caller', caller), callee: new Side('callee', callee) };
  const between = network && await startNetwork(lab, network);
  for (const side of Object.values(sides)) side.network = between;
  relay.accept(sides);
  for (const side of Object.values(sides)) side.open(lab, relay, { video, audio, clip, source, profile, env: env?.[side.role] ?? env });
  const both = Object.values(sides);
  await Promise.all(both.map((side) => side.waitFor(() => side.ready, READY_MS, 'ready')));
  sides.caller.send({ type: 'start' });
  await Promise.all(both.map((side) => side.waitFor(() => side.events.firstFrame, PICTURE_MS, 'first picture')));
  await meanwhile(sides);
  await sleep(settleMs);
  for (const side of both) side.beginMeasuring();
  await sleep(measureMs);
  for (const side of both) side.endMeasuring();
  await Promise.all(both.map((side) => side.waitFor(() => side.stats.end, 5000, 'statistics at the end')));
  for (const side of both) side.send({ type: 'bye' });
  await Promise.all(both.filter((side) => side.kind === 'ahoy').map(async (side) => {
    side.byeExit = await side.program.end(5000);
  }));
  await Promise.all(both.map((side) => side.program.stop()));
  return sides;
}

const size = (video) => {
  const [, width, height, frameRate] = video.match(/^(\d+)x(\d+)@(\d+)$/);
  return { width: Number(width), height: Number(height), frameRate: Number(frameRate) };
};

/** One side and what it reported. */
export class Side {
  #socket;

  constructor(role, kind) {
    this.role = role;
    this.kind = kind;
    /** Moments by name, Unix ms. */
    this.events = {};
    /** `begin` and `end`: statistics by webrtc-stats type and kind. */
    this.stats = {};
    this.ticks = [];
    this.errors = [];
    /** Everything logged: `cap`, `disp`, `audioGen`, `audioDet`. */
    this.log = { cap: [], disp: [], audioGen: [], audioDet: [] };
  }

  /** Starts the program. */
  open(lab, relay, { video, audio, clip, source, profile, env }) {
    this.startedAt = Date.now();
    const url = `${relay.socketUrl}?role=${this.role}`;
    if (this.kind === 'ahoy') {
      this.program = start(binary('ahoy-peer', profile), ['bench'], {
        label: `ahoy-peer bench (${this.role})`,
        env: {
          ...env, BENCH_SIGNAL_URL: url, BENCH_ROLE: this.role, BENCH_CLIP: clip, BENCH_VIDEO: video,
          BENCH_AUDIO: audio,
        },
      });
      lab.defer(() => this.program.stop());
    } else {
      const { width, height, frameRate } = size(video);
      const query = new URLSearchParams({ role: this.role, socket: url, width, height, fps: frameRate, audio, source });
      this.program = openChromium(lab, `${relay.pageUrl}/bench.html?${query}`,
        { camera: source === 'camera' ? clip : undefined, name: `chromium-${this.role}`, env, fakeDevices: !['devices', 'unprocessed'].includes(audio) });
    }
  }

  /** Joins the side to its WebSocket; `other` gets what is meant for it. */
  connect(socket, other) {
    this.#socket = socket;
    socket.on('message', (data) => this.#handle(JSON.parse(data.toString()), other));
  }

  send(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  #handle(message, other) {
    switch (message.type) {
      case 'ready':
        this.ready = message.t;
        break;
      case 'offer':
      case 'answer':
      case 'candidate':
        if (message.type !== 'candidate' && this.sdp !== undefined) this.errors.push(`a further ${message.type}`);
        if (message.type !== 'candidate') this.sdp = message.sdp;
        this.#tell(other, message);
        break;
      case 'event':
        if (this.events[message.name] !== undefined) this.errors.push(`event ${message.name} twice`);
        this.events[message.name] = message.t;
        break;
      case 'log':
        for (const key of Object.keys(this.log)) this.log[key].push(...(message[key] ?? []));
        break;
      case 'stats':
        this.stats[message.name] = message.stats;
        break;
      case 'tick':
        this.ticks.push(message);
        break;
      case 'error':
        this.errors.push(message.error);
        break;
      default:
        this.errors.push(`message of unknown type ${message.type}`);
    }
  }

  #tell(other, message) {
    const told = this.network ? this.network.rewrite(this.role, message) : message;
    if (told !== undefined) other.send(told);
  }

  /** Waits for something; a reported error or an ended program is a failure at once. */
  waitFor(test, timeoutMs, what) {
    return eventually(() => test(), timeoutMs, `${this.kind} as ${this.role}: ${what}`, 20).catch((error) => {
      throw new Error(`${error.message}\nreported errors: ${JSON.stringify(this.errors)}\n${this.program.describe()}`);
    });
  }

  beginMeasuring() {
    /** Unix ms of the first mark. */
    this.markedAt = Date.now();
    this.send({ type: 'mark', name: 'begin' });
    this.processes = tree(this.program.pid);
    this.cpuAtBegin = cpuSeconds(this.processes);
    this.beginAt = performance.now();
  }

  endMeasuring() {
    this.send({ type: 'mark', name: 'end' });
    this.seconds = (performance.now() - this.beginAt) / 1000;
    /** Cores in use between the marks. */
    this.cores = (cpuSeconds(this.processes) - this.cpuAtBegin) / this.seconds;
    /** MB, `{ rss, pss }`. */
    this.memory = memory(this.processes);
  }

  /** How much a counter grew between the marks, or `undefined` when the side does not know it. */
  grown(entry, member) {
    const [begin, end] = [this.stats.begin?.[entry]?.[member], this.stats.end?.[entry]?.[member]];
    return end === undefined ? undefined : end - (begin ?? 0);
  }
}

/**
 * Delay of every picture from one side's camera to the other side's screen, in ms, sorted. Frame
 * numbers of a clip repeat: a shown number belongs to its latest capture before that moment.
 */
export function glassToGlass(from, to) {
  const captures = new Map();
  for (const [number, at] of from.log.cap) captures.set(number, [...(captures.get(number) ?? []), at]);
  const delays = [];
  for (const [number, shown] of to.log.disp) {
    const at = (captures.get(number) ?? []).filter((moment) => moment <= shown).at(-1);
    if (at !== undefined) delays.push(shown - at);
  }
  return delays.sort((a, b) => a - b);
}

/** Delay of the sound pulses from one side to the other after the first mark, in ms, sorted. */
export function soundDelay(from, to) {
  return to.log.audioDet
    .filter((heard) => heard >= to.markedAt)
    .map((heard) => heard - (from.log.audioGen.filter((at) => at <= heard).at(-1) ?? Number.NaN))
    .filter((delay) => delay < 800)
    .sort((a, b) => a - b);
}

/** A percentile (0..1) of sorted values. */
export function percentile(sorted, share) {
  return sorted.length === 0 ? undefined : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

async function startRelay(lab) {
  const types = { '.html': 'text/html', '.js': 'text/javascript' };
  const server = createServer((request, response) => {
    const name = path.basename(new URL(request.url, 'http://localhost').pathname);
    const stream = createReadStream(path.join(pages, name));
    stream.on('error', () => response.writeHead(404).end());
    stream.on('open', () => {
      response.writeHead(200, { 'content-type': types[path.extname(name)] ?? 'application/octet-stream' });
      stream.pipe(response);
    });
  });
  const sockets = new WebSocketServer({ server, path: '/ws' });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  lab.defer(() => {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address();
  return {
    pageUrl: `http://127.0.0.1:${port}`,
    socketUrl: `ws://127.0.0.1:${port}/ws`,
    accept(sides) {
      sockets.on('connection', (socket, request) => {
        const role = new URL(request.url, 'http://localhost').searchParams.get('role');
        const side = sides[role];
        if (!side) socket.close(1008, 'unknown role');
        else side.connect(socket, role === 'caller' ? sides.callee : sides.caller);
      });
    },
  };
}
