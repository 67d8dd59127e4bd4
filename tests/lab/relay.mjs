// A TCP relay in front of a server: what its clients' connections can be cut with, as by a network that
// resets them, while the programs at both ends run on.

import net from 'node:net';

/** Starts one to a port of the loopback interface; returns `{ url, cut(), open(port) }`. */
export async function startRelay(lab, port) {
  let target = port;
  const sockets = new Set();
  const keep = (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = net.createServer((client) => {
    keep(client);
    if (target === undefined) return client.destroy();
    const upstream = net.connect({ port: target, host: '127.0.0.1' });
    keep(upstream);
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  const cut = () => {
    target = undefined;
    for (const socket of sockets) socket.destroy();
  };
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  lab.defer(() => {
    cut();
    server.close();
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    /** Closes every connection, and new ones until it is opened again. */
    cut,
    /** Lets connections through, to the same server or another one. */
    open(to = port) {
      target = to;
    },
  };
}
