// One test's surroundings: what is opened here is closed with it, last first.

import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { start } from './process.mjs';

/** Memory that is a file system, on Linux. */
const MEMORY = '/dev/shm';
/** Room that one test may need, in bytes: clips of 124 MB and recordings. */
const ROOM = 1e9;

/**
 * Where private folders are made: in memory, because a camera that plays a clip from a disk stands
 * still when the disk does, for up to two seconds; on the disk where there is too little room.
 */
function privateFolders() {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= ROOM ? MEMORY : os.tmpdir();
  } catch {
    return os.tmpdir();
  }
}

/**
 * Give it node:test's context; everything is undone when that test ends, also after a failure.
 *
 *     const lab = new Lab(t);
 *     const sound = await startSound(lab);
 */
export class Lab {
  #undo = [];

  constructor(test) {
    /** Private folder, removed at the end. */
    this.folder = mkdtempSync(path.join(privateFolders(), 'ahoy-lab-'));
    this.#undo.push(() => rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 }));
    test?.after(() => this.close());
  }

  /** Registers something to be done at the end. */
  defer(action) {
    this.#undo.push(action);
  }

  /** Path of a file in the private folder. */
  file(name) {
    return path.join(this.folder, name);
  }

  /** Starts a program that is stopped at the end. */
  start(file, args, options) {
    const started = start(file, args, options);
    this.defer(() => started.stop());
    return started;
  }

  /** Undoes everything, last first; an error in one step does not keep the others from running. */
  async close() {
    const errors = [];
    while (this.#undo.length > 0) {
      try {
        await this.#undo.pop()();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, errors.map((error) => error.message).join('; '));
  }
}

/** A TCP port of the loopback interface that is free now. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * As many neighbouring ports as a window looks at for its embedded server, all free now, such as
 * `31200-31203`: the windows of a test find each other and nobody else's.
 */
export async function freePorts(count = 4) {
  for (;;) {
    const first = await freePort();
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (first + count <= 65_536 && !(await Promise.all(ports.map(listens))).includes(true)) return `${first}-${ports.at(-1)}`;
  }
}

/** Whether something accepts connections on this port of the loopback interface. */
export function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
