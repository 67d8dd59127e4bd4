// A bad network between the two sides of a measured call: a UDP relay on loopback with delay,
// jitter, loss and a bottleneck in each direction. Packets keep their order. It needs no rights and
// no kernel module, and every side that gathers host candidates on 127.0.0.1 can be put behind it.

import { createSocket } from 'node:dgram';

/**
 * Named networks. `kbps`: bottleneck; `queueMs`: longest wait in front of it; `delayMs`: one way;
 * `jitterMs`: spread of it; `loss`: share lost, 0 to 1; `burst`: mean number lost in a row.
 * A function gives what holds so many seconds after the beginning.
 */
export const NETWORKS = {
  none: {},
  moderate: { delayMs: 100, jitterMs: 25, loss: 0.05 },
  international: { delayMs: 250, jitterMs: 100, loss: 0.03, burst: 3, kbps: 300, queueMs: 500 },
  loss10: { loss: 0.1 },
  loss20: { loss: 0.2 },
  burst20: { loss: 0.2, burst: 3 },
  bw500: { kbps: 500, delayMs: 20 },
  bw150: { kbps: 150, delayMs: 20 },
  drop: (seconds) => ({ delayMs: 20, kbps: seconds >= 25 && seconds < 45 ? 500 : 4000 }),
};

/** A repeatable random number from 0 to 1 (mulberry32). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** One direction: says when a packet comes out, or that it does not. Times in ms. */
export class Path {
  constructor(conditions, seed) {
    this.conditions = typeof conditions === 'function' ? conditions : () => conditions;
    this.random = seeded(seed);
    this.freeAt = 0;
    this.lastOut = 0;
    this.losing = false;
    this.startedAt = undefined;
  }

  /** When a packet of `bytes` that comes in at `now` goes out; `undefined` when it is lost. */
  pass(bytes, now) {
    this.startedAt ??= now;
    const { kbps, queueMs = 300, delayMs = 0, jitterMs = 0, loss = 0, burst = 1 } = this.conditions((now - this.startedAt) / 1000);
    let leaves = now;
    if (kbps !== undefined) {
      const free = Math.max(this.freeAt, now);
      if (free - now > queueMs) return undefined;
      // 28 bytes of IPv4 and UDP headers; kbit/s are bits per ms.
      leaves = free + ((bytes + 28) * 8) / kbps;
      this.freeAt = leaves;
    }
    if (this.#isLost(loss, burst)) return undefined;
    // The sum of three is nearly normal, and never negative beyond the delay.
    const spread = (this.random() + this.random() + this.random()) * 2 - 3;
    const out = leaves + Math.max(0, delayMs + spread * jitterMs);
    this.lastOut = Math.max(this.lastOut, out);
    return this.lastOut;
  }

  /** Gilbert's model: a burst ends with the chance that gives its mean length. */
  #isLost(loss, burst) {
    if (loss <= 0) return false;
    if (burst <= 1) return this.random() < loss;
    const end = 1 / burst;
    const begin = (loss * end) / (1 - loss);
    this.losing = this.losing ? this.random() >= end : this.random() < begin;
    return this.losing;
  }
}

/**
 * Sets up the relay. `rewrite(role, message)` turns what a side signals into what the other side is
 * to be told: candidates on loopback become those of the relay, all others are left out
 * (`undefined` for a message that says nothing else).
 */
export async function startNetwork(lab, conditions, seed = 1) {
  const ends = { caller: await openEnd(lab), callee: await openEnd(lab) };
  const opposite = { caller: 'callee', callee: 'caller' };
  for (const [role, end] of Object.entries(ends)) {
    // What comes in here was sent to `role`, by the other one.
    const path = new Path(conditions, seed + (role === 'caller' ? 0 : 1000));
    const back = ends[opposite[role]];
    end.socket.on('message', through(lab, path, (data) => {
      if (end.address) back.socket.send(data, end.address.port, end.address.host);
    }));
  }
  const replaced = (role, line) => {
    const match = line.match(/^(candidate:\S+ 1 udp \d+) (\S+) (\d+) (typ host.*)$/i);
    if (!match || match[2] !== '127.0.0.1') return undefined;
    const end = ends[role];
    end.address ??= { host: match[2], port: Number(match[3]) };
    if (end.address.port !== Number(match[3])) return undefined;
    return `${match[1]} 127.0.0.1 ${end.port} ${match[4]}`;
  };
  return {
    rewrite(role, message) {
      if (message.type === 'candidate') {
        const candidate = replaced(role, message.candidate ?? '');
        return candidate === undefined ? undefined : { ...message, candidate };
      }
      const lines = message.sdp.split('\r\n').map((line) => {
        if (!line.startsWith('a=candidate:')) return line;
        const candidate = replaced(role, line.slice(2));
        return candidate === undefined ? undefined : `a=${candidate}`;
      });
      return { ...message, sdp: lines.filter((line) => line !== undefined).join('\r\n') };
    },
  };
}

/**
 * A line in front of a server on loopback, such as a TURN server, with conditions of its own in each
 * direction: `up` to the server, `down` from it. Whoever is given its `port` instead of the
 * server's has everything that goes through the server go through the line.
 */
export async function startLine(lab, serverPort, { up = {}, down = {} }, seed = 1) {
  const line = await openSocket();
  const upward = new Path(up, seed);
  const downward = new Path(down, seed + 1000);
  /** One socket towards the server for each that comes, by port. */
  const clients = new Map();
  lab.defer(async () => {
    for (const socket of [line, ...(await Promise.all(clients.values()))]) socket.close();
  });
  const forward = through(lab, upward, ({ data, client }) => client.send(data, serverPort, '127.0.0.1'));
  const backward = through(lab, downward, ({ data, port }) => line.send(data, port, '127.0.0.1'));
  line.on('message', async (data, { port }) => {
    if (!clients.has(port)) {
      clients.set(port, openSocket().then((client) => {
        client.on('message', (answer) => backward({ data: answer, length: answer.length, port }));
        return client;
      }));
    }
    forward({ data, length: data.length, client: await clients.get(port) });
  });
  return { port: line.address().port };
}

/** Returns a function that takes packets (of `length` bytes), which `send` is given when they come out of `path`. */
function through(lab, path, send) {
  const waiting = [];
  let timer;
  const deliver = () => {
    const now = performance.now();
    while (waiting.length > 0 && waiting[0].at <= now + 0.5) send(waiting.shift().packet);
    timer = waiting.length > 0 ? setTimeout(deliver, Math.max(1, waiting[0].at - performance.now())) : undefined;
  };
  lab.defer(() => clearTimeout(timer));
  return (packet) => {
    const at = path.pass(packet.length, performance.now());
    if (at === undefined) return;
    waiting.push({ at, packet });
    if (timer === undefined) deliver();
  };
}

async function openSocket() {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}

async function openEnd(lab) {
  const socket = await openSocket();
  lab.defer(() => socket.close());
  return { socket, port: socket.address().port, address: undefined };
}
