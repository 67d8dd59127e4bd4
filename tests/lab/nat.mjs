// An internet in network namespaces: two homes behind routers of every kind, and in the middle the
// signaling server and a TURN server. Needs root, iproute2, nftables, openssl and coturn.
//
//   home a ── router a ─┐             ┌─ router b ── home b
//   10.1.0.2            ├─ internet ──┤            10.2.0.2
//                 .10   │ 198.51.100  │  .20
//                       └─ .1 .2 TURN, .3 signaling

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { binary, program } from './paths.mjs';
import { eventually } from './process.mjs';

/** Kinds of network that a home can have, with what stands in the tables. */
export const NETWORKS = {
  none: 'no NAT',
  fullCone: 'full cone',
  addressRestricted: 'address-restricted',
  portRestricted: 'port-restricted',
  symmetric: 'symmetric',
  udpBlocked: 'UDP blocked',
  only443: 'only TCP 443',
  ipv6Only: 'IPv6 only',
  dualStack: 'IPv4 and IPv6',
  doubleNat: 'double NAT',
};

export const USER = 'lab';
export const PASSWORD = 'labpass';
export const SIGNALING = 'ws://signal.lab:443';
/** The server's URLs on the cables of their own that homes can have towards it. */
export const MANAGEMENT = ['ws://172.31.1.1:443', 'ws://172.31.2.1:443'];
/** What every participant is told: all ways to one server. */
export const ICE_SERVERS = [
  'stun:turn.lab',
  'turn:turn.lab?transport=udp',
  'turn:turn.lab?transport=tcp',
  'turns:turn.lab:443',
];

/** A server that has no other address than one of IPv6. */
export const ICE_SERVERS_V6 = ICE_SERVERS.map((url) => url.replace('turn.lab', 'turn6.lab'));

const HOSTS = `127.0.0.1 localhost
198.51.100.1 turn.lab
2001:db8:1::1 turn.lab
2001:db8:1::1 turn6.lab
198.51.100.3 signal.lab
2001:db8:1::3 signal.lab
`;

let count = 0;

function run(file, args, input) {
  try {
    return execFileSync(program(file), args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(`${file} ${args.join(' ')}: ${error.stderr || error.message}`);
  }
}

const ip = (...args) => run('ip', args);

/** A network namespace that is removed with the lab. */
class Namespace {
  constructor(lab, name) {
    // Unique among all labs of this machine, and short: interface names have 15 characters.
    this.name = `ah${process.pid}-${(count += 1)}${name}`;
    ip('netns', 'add', this.name);
    lab.defer(() => ip('netns', 'delete', this.name));
    const folder = `/etc/netns/${this.name}`;
    mkdirSync(folder, { recursive: true });
    lab.defer(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(`${folder}/hosts`, HOSTS);
    this.ip('link', 'set', 'lo', 'up');
    for (const setting of ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0']) {
      this.run('sysctl', '-q', '-w', setting);
    }
  }

  run(...command) {
    return ip('netns', 'exec', this.name, ...command);
  }

  ip(...args) {
    return ip('-netns', this.name, ...args);
  }

  nft(rules) {
    run('ip', ['netns', 'exec', this.name, 'nft', '-f', '-'], rules);
  }

  /** Starts a program inside. */
  start(lab, file, args, options) {
    return lab.start(program('ip'), ['netns', 'exec', this.name, file, ...args], options);
  }
}

/** A cable between two namespaces; its ends have the names given. */
function cable(a, aName, b, bName) {
  a.ip('link', 'add', aName, 'type', 'veth', 'peer', 'name', bName, 'netns', b.name);
  a.ip('link', 'set', aName, 'up');
  b.ip('link', 'set', bName, 'up');
}

/** What is dropped wherever something is translated: what nobody asked for. */
const CLOSED = `
  chain forwarded { type filter hook forward priority 0; iifname "wan" ct state new drop; }
  chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }`;

/** The rules of a router, by kind. `wan` is its outer address, `home` the computer's behind it. */
const RULES = {
  none: () => '',
  ipv6Only: () => '',
  portRestricted: () => `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }${CLOSED}
}`,
  symmetric: () => `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade fully-random; }${CLOSED}
}`,
  fullCone: ({ wan, home }) => `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "wan" snat to ${wan}; }
  chain in { type nat hook prerouting priority -100; iifname "wan" udp dport 1024-65535 dnat to ${home}; }
}`,
  addressRestricted: ({ wan, home }) => `table ip nat {
  set known { type ipv4_addr; flags dynamic,timeout; timeout 2m; }
  chain out { type nat hook postrouting priority 100; oifname "wan" snat to ${wan}; }
  chain in { type nat hook prerouting priority -100; iifname "wan" udp dport 1024-65535 dnat to ${home}; }
  chain forwarded { type filter hook forward priority 0;
    oifname "wan" update @known { ip daddr }
    iifname "wan" ct state new ip saddr != @known drop
  }
}`,
  udpBlocked: () => `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
  chain block { type filter hook forward priority -1; meta l4proto udp drop; }${CLOSED}
}`,
  only443: () => `table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }
  chain block { type filter hook forward priority -1; iifname "lan" tcp dport != 443 drop; iifname "lan" meta l4proto != tcp drop; }${CLOSED}
}`,
  doubleNat: (addresses) => RULES.portRestricted(addresses),
  // Nobody translates IPv6, but nobody gets in unasked either.
  dualStack: (addresses) => `${RULES.portRestricted(addresses)}
table ip6 wall {${CLOSED}
}`,
};

/** One home: a computer behind a router, or two. */
class Home {
  constructor(lab, internet, kind, number) {
    this.number = number;
    this.kind = kind;
    this.computer = new Namespace(lab, 'home');
    const router = new Namespace(lab, 'router');
    const inner = kind === 'doubleNat' ? new Namespace(lab, 'inner') : router;
    const wan = `198.51.100.${number * 10}`;
    const wan6 = `2001:db8:1::${number * 10}`;
    // Without translation the computer has an address that everybody can reach.
    this.lan = kind === 'none' ? `203.0.113.${number * 16}` : `10.${number}.0`;
    const [gateway, home, bits] = kind === 'none'
      ? [`203.0.113.${number * 16 + 1}`, `203.0.113.${number * 16 + 2}`, 28]
      : [`10.${number}.0.1`, `10.${number}.0.2`, 24];
    this.gateway = gateway;

    cable(router, 'wan', internet, `home${number}`);
    internet.ip('link', 'set', `home${number}`, 'master', 'bridge');
    router.ip('address', 'add', `${wan}/24`, 'dev', 'wan');
    router.ip('address', 'add', `${wan6}/64`, 'dev', 'wan', 'nodad');
    cable(inner, 'lan', this.computer, 'net');
    if (inner !== router) {
      cable(router, 'lan', inner, 'wan');
      router.ip('address', 'add', `100.64.${number}.1/24`, 'dev', 'lan');
      inner.ip('address', 'add', `100.64.${number}.2/24`, 'dev', 'wan');
      inner.ip('route', 'add', 'default', 'via', `100.64.${number}.1`);
      inner.nft(RULES.portRestricted({}));
    }
    router.ip('route', 'add', 'default', 'via', '198.51.100.1');
    if (kind === 'ipv6Only' || kind === 'dualStack') {
      inner.ip('address', 'add', `2001:db8:a${number}::1/64`, 'dev', 'lan', 'nodad');
      this.useV6(true);
      internet.ip('-6', 'route', 'add', `2001:db8:a${number}::/64`, 'via', wan6);
      const other = number === 1 ? 2 : 1;
      router.ip('-6', 'route', 'add', `2001:db8:a${other}::/64`, 'via', `2001:db8:1::${other * 10}`);
    }
    if (kind !== 'ipv6Only') {
      inner.ip('address', 'add', `${gateway}/${bits}`, 'dev', 'lan');
      this.use(home, bits);
      if (kind === 'none') internet.ip('route', 'add', `203.0.113.${number * 16}/28`, 'via', wan);
    }
    const rules = RULES[kind]({ wan, home });
    if (rules) router.nft(rules);
  }

  /** Gives the computer this address, and no other. */
  use(address, bits = 24) {
    this.computer.ip('-4', 'address', 'flush', 'dev', 'net');
    this.computer.ip('address', 'add', `${address}/${bits}`, 'dev', 'net');
    this.computer.ip('route', 'replace', 'default', 'via', this.gateway);
  }

  /** Gives the computer its address of IPv6, or takes it away. */
  useV6(there) {
    this.computer.ip('-6', 'address', there ? 'replace' : 'delete', `2001:db8:a${this.number}::2/64`, 'dev', 'net', ...(there ? ['nodad'] : []));
    if (there) this.computer.ip('-6', 'route', 'replace', 'default', 'via', `2001:db8:a${this.number}::1`);
  }

  /** Plugs the cable in or pulls it. */
  link(up) {
    this.computer.ip('link', 'set', 'net', up ? 'up' : 'down');
    if (up) this.computer.ip('route', 'replace', 'default', 'via', this.gateway);
  }
}

/** Two homes and what is between them. */
export class Internet {
  /**
   * `management`: each home also has a cable of its own to the signaling server, so that a move
   * concerns sound and picture alone.
   */
  static async start(lab, kindA, kindB, { management = false } = {}) {
    const internet = new Internet();
    internet.lab = lab;
    const middle = new Namespace(lab, 'net');
    internet.middle = middle;
    middle.ip('link', 'add', 'bridge', 'type', 'bridge');
    middle.ip('link', 'set', 'bridge', 'up');
    for (const last of [1, 2, 3]) {
      middle.ip('address', 'add', `198.51.100.${last}/24`, 'dev', 'bridge');
      middle.ip('address', 'add', `2001:db8:1::${last}/64`, 'dev', 'bridge', 'nodad');
    }
    internet.homes = [new Home(lab, middle, kindA, 1), new Home(lab, middle, kindB, 2)];
    internet.extra = management ? ['172.31.1.1:443', '172.31.2.1:443'] : [];
    if (management) {
      for (const { number, computer } of internet.homes) {
        cable(middle, `own${number}`, computer, 'own');
        middle.ip('address', 'add', `172.31.${number}.1/30`, 'dev', `own${number}`);
        computer.ip('address', 'add', `172.31.${number}.2/30`, 'dev', 'own');
      }
      middle.nft('table ip own { chain forwarded { type filter hook forward priority 0; ip daddr 172.31.0.0/16 drop; ip saddr 172.31.0.0/16 drop; }\n}');
    }
    internet.authority = certificate(lab);
    internet.turn = startCoturn(lab, middle);
    internet.startServer();
    await eventually(() => listening(middle, '198.51.100.1', 443) && listening(middle, '198.51.100.3', 443),
      20_000, 'coturn and ahoy-server listen').catch((error) => {
      throw new Error(`${error.message}\n${internet.turn.describe()}\n${internet.server.describe()}`);
    });
    return internet;
  }

  /** Starts the signaling server, again if it was stopped. */
  startServer() {
    this.server = this.middle.start(this.lab, binary('ahoy-server'),
      ['198.51.100.3:443', '[2001:db8:1::3]:443', ...this.extra].flatMap((address) => ['--listen', address]), { label: 'ahoy-server' });
  }

  /** Starts `ahoy-peer` in a home. */
  peer(home, args, { label = 'ahoy-peer', iceServers = ICE_SERVERS, env = {} } = {}) {
    const ice = iceServers.flatMap((url) => ['--ice-server', url]);
    return this.homes[home].computer.start(this.lab, binary('ahoy-peer'), [...args, ...ice], {
      label,
      env: {
        AHOY_ICE_USERNAME: USER,
        AHOY_ICE_CREDENTIAL: PASSWORD,
        SSL_CERT_FILE: this.authority,
        RUST_LOG: process.env.RUST_LOG,
        ...env,
      },
    });
  }
}

function listening(namespace, address, port) {
  return namespace.run('ss', '-Htln', `sport = :${port}`).includes(`${address}:${port}`);
}

/** A certificate for turn.lab and the authority that signed it; returns the authority's file. */
function certificate(lab) {
  const [authority, authorityKey, key, request, own, extensions] =
    ['ca.pem', 'ca-key.pem', 'key.pem', 'request.pem', 'cert.pem', 'extensions'].map((name) => lab.file(name));
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run('openssl', ['req', '-x509', ...ec, '-keyout', authorityKey, '-out', authority, '-days', '2', '-subj', '/CN=Ahoy lab']);
  run('openssl', ['req', ...ec, '-keyout', key, '-out', request, '-subj', '/CN=turn.lab']);
  writeFileSync(extensions, 'subjectAltName=DNS:turn.lab,DNS:turn6.lab\n');
  run('openssl', ['x509', '-req', '-in', request, '-CA', authority, '-CAkey', authorityKey, '-CAcreateserial', '-days', '2', '-extfile', extensions, '-out', own]);
  return authority;
}

function startCoturn(lab, namespace) {
  const denied = ['10.0.0.0-10.255.255.255', '100.64.0.0-100.127.255.255', '172.16.0.0-172.31.255.255', '192.168.0.0-192.168.255.255'];
  return namespace.start(lab, program('turnserver'), [
    '-n', '--no-cli', '--no-dtls', '--log-file=stdout', '--simple-log',
    ...['198.51.100.1', '198.51.100.2', '2001:db8:1::1'].map((address) => `--listening-ip=${address}`),
    '--relay-ip=198.51.100.1', '--relay-ip=2001:db8:1::1',
    '--listening-port=3478', '--tls-listening-port=443',
    '--lt-cred-mech', '--realm=turn.lab', `--user=${USER}:${PASSWORD}`,
    `--cert=${lab.file('cert.pem')}`, `--pkey=${lab.file('key.pem')}`,
    `--pidfile=${lab.file('turn.pid')}`, `--userdb=${lab.file('turndb')}`,
    ...denied.map((range) => `--denied-peer-ip=${range}`),
  ], { label: 'turnserver' });
}
