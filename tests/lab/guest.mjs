// A small virtual machine with Debian's kernel and its `vivid` driver: the real V4L2 kernel code,
// with a virtual camera behind it. QEMU interprets (TCG), so it runs wherever QEMU runs; expect a
// tenth of the machine's speed. The guest sees this machine's files read-only, so programs need
// no copying.

import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { folder, labFolder, program } from './paths.mjs';
import { check } from './process.mjs';

/** Kernel modules of the guest, in the order of loading; what they depend on is found. */
const MODULES = ['virtio_pci', '9p', '9pnet_virtio', 'vivid'];

/** Downloads and unpacks Debian's kernel once; returns `{ kernel, initrd }`. */
async function machine() {
  const made = path.join(folder(labFolder), 'guest');
  if (!existsSync(made)) {
    const work = folder(`${made}.${process.pid}`);
    try {
      await build(work);
      rmSync(made, { recursive: true, force: true });
      renameSync(work, made);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { kernel: path.join(made, 'vmlinuz'), initrd: path.join(made, 'initrd.gz') };
}

async function build(work) {
  const known = async () => (await check('apt-cache', ['depends', 'linux-image-amd64'])).stdout;
  const stdout = (await known()) || (await check('apt-get', ['update'], { timeoutMs: 120_000 }), await known());
  const name = stdout.match(/Depends: (linux-image-\S+)/)?.[1];
  if (!name) throw new Error('apt knows no linux-image-amd64, even after apt-get update');
  await check('apt-get', ['download', name], { cwd: work, timeoutMs: 120_000 });
  const unpacked = path.join(work, 'package');
  await check('dpkg-deb', ['-x', path.join(work, readdirSync(work).find((file) => file.endsWith('.deb'))), unpacked],
    { timeoutMs: 120_000 });
  const [version] = readdirSync(path.join(unpacked, 'lib/modules'));
  await check('depmod', ['-b', unpacked, version], { timeoutMs: 60_000 });
  copyFileSync(path.join(unpacked, `boot/vmlinuz-${version}`), path.join(work, 'vmlinuz'));

  const root = folder(work, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'host', 'modules']) mkdirSync(path.join(root, name));
  copyFileSync(program('busybox'), path.join(root, 'bin/busybox'));
  const order = [];
  for (const module of MODULES) {
    const shown = await check('modprobe', ['-d', unpacked, '-S', version, '--show-depends', module]);
    for (const [, file] of shown.stdout.matchAll(/^insmod (\S+)/gm)) if (!order.includes(file)) order.push(file);
  }
  for (const file of order) copyFileSync(file, path.join(root, 'modules', path.basename(file)));
  const load = order.map((file) => {
    const base = path.basename(file);
    return `busybox insmod /modules/${base}${base.startsWith('vivid.') ? ' n_devs=1 node_types=0x1' : ''}`;
  });
  writeFileSync(path.join(root, 'init'), `#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
${load.join('\n')}
busybox ip link set lo up
busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 files /host
for kept in proc sys dev; do busybox mount --bind /$kept /host/$kept; done
busybox mount -t tmpfs tmpfs /host/dev/shm 2>/dev/null || { busybox mkdir -p /dev/shm; busybox mount -t tmpfs tmpfs /host/dev/shm; }
busybox mount -t tmpfs tmpfs /host/tmp
busybox mkdir -p /host/tmp/share
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /host/tmp/share
busybox chroot /host /bin/sh /tmp/share/run.sh > /host/tmp/share/output 2>&1
echo $? > /host/tmp/share/exit
busybox sync
busybox poweroff -f
`);
  chmodSync(path.join(root, 'init'), 0o755);
  await check('sh', ['-c', 'cd "$1" && find . | cpio -o -H newc --quiet | gzip -1 > "$2"', 'sh', root,
    path.join(work, 'initrd.gz')], { timeoutMs: 60_000 });
  for (const entry of readdirSync(work)) {
    if (!['vmlinuz', 'initrd.gz'].includes(entry)) rmSync(path.join(work, entry), { recursive: true });
  }
}

/**
 * Boots the guest, runs a shell script in it and powers it off. In the guest, this machine's files
 * are there read-only and `/tmp/share` is writable; `files` (names → contents) are put there first.
 * Returns `{ exit, output, share }`, `share` being the folder's path on this machine.
 */
export async function runInGuest(lab, script, { timeoutMs = 120_000, copy = {} } = {}) {
  const { kernel, initrd } = await machine();
  const share = folder(lab.file('share'));
  for (const [name, from] of Object.entries(copy)) cpSync(from, path.join(share, name));
  writeFileSync(path.join(share, 'run.sh'), script);
  const guest = lab.start('qemu-system-x86_64', [
    '-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', '1024', '-smp', '2', '-nographic', '-no-reboot',
    '-kernel', kernel, '-initrd', initrd,
    '-virtfs', 'local,path=/,mount_tag=files,security_model=none,readonly=on,multidevs=remap',
    '-virtfs', `local,path=${share},mount_tag=share,security_model=none`,
    '-append', 'console=ttyS0 quiet panic=-1 mitigations=off',
  ], { label: 'qemu' });
  await guest.end(timeoutMs);
  const read = (name) => (existsSync(path.join(share, name)) ? readFileSync(path.join(share, name), 'utf8') : '');
  if (read('exit') === '') throw new Error(`the guest did not run the script\n${read('output')}\n${guest.describe()}`);
  return { exit: Number(read('exit')), output: read('output'), share };
}
