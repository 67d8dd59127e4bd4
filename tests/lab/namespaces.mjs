// Computers on one local network, without internet: network namespaces of the kernel, joined by a
// bridge. Everything that runs in one has addresses, routes and loopback of its own. Needs root.

import { randomBytes } from 'node:crypto';
import { check } from './process.mjs';
import { program } from './paths.mjs';

/**
 * A network of `count` computers at `10.77.0.1` and up, with nothing beyond it. Each is
 * `{ name, ip, enter }`, where `enter` is the beginning of a command line that runs in it.
 */
export async function startNetworkOf(lab, count) {
  if (process.getuid() !== 0) throw new Error('network namespaces need root: run this test as root');
  // Interfaces have names of at most 15 characters.
  const tag = randomBytes(3).toString('hex');
  const ip = (...args) => check(program('ip'), args);
  const addNamespace = async (name) => {
    await ip('netns', 'add', name);
    lab.defer(() => ip('netns', 'delete', name));
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  };
  // The bridge is in a namespace too, so that rules of the machine's own firewall do not apply.
  const hub = `ahoy-${tag}-hub`;
  await addNamespace(hub);
  await ip('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge');
  await ip('-n', hub, 'link', 'set', 'bridge', 'up');
  const computers = [];
  for (let index = 0; index < count; index += 1) {
    const name = `ahoy-${tag}-${index}`;
    const address = `10.77.0.${index + 1}`;
    await addNamespace(name);
    await ip('-n', name, 'link', 'add', 'lan', 'type', 'veth', 'peer', 'name', `port${index}`, 'netns', hub);
    await ip('-n', hub, 'link', 'set', `port${index}`, 'master', 'bridge', 'up');
    await ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'lan');
    await ip('-n', name, 'link', 'set', 'lan', 'up');
    computers.push({ name, ip: address, enter: [program('ip'), 'netns', 'exec', name] });
  }
  return computers;
}
