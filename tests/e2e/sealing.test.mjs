// Two implementations of verification and sealing against each other: `crates/sealing` and
// `lab/sealing.mjs`, in both roles, with right and wrong secrets.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { binary } from '../lab/paths.mjs';
import { Handshake, cpaceKey, cpaceShare } from '../lab/sealing.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (text) => Uint8Array.from(Buffer.from(text, 'hex'));
const WORDS = new TextEncoder().encode('amber-otter');
const RUST = new Uint8Array(32).fill(0xa);
const SCRIPT = new Uint8Array(32).fill(0xb);

/** The Rust side: says what it is told, and hears what it says. */
class Rust {
  constructor(t, joins, kind, secret) {
    const [own, other] = joins ? [2, 1] : [1, 2];
    this.child = spawn(binary('examples/pair'),
      [joins ? 'join' : 'admit', '4821', String(own), String(other), hex(RUST), kind, hex(secret)],
      { stdio: ['pipe', 'pipe', 'inherit'] });
    t.after(() => this.child.kill());
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  tell(command, argument) {
    this.child.stdin.write(`${command} ${hex(argument)}\n`);
  }

  async says(command) {
    const { value, done } = await this.lines.next();
    assert.ok(!done, 'the Rust side has ended');
    const [said, argument = ''] = value.split(' ');
    assert.equal(said, command);
    return bytes(argument);
  }
}

/** The script's side: the other role. */
function script(joins, secrets) {
  const [own, other] = joins ? [2, 1] : [1, 2];
  return new Handshake({ joins, room: 4821, own, other }, SCRIPT, secrets);
}

async function talk(rust, channel) {
  for (const text of ['one', 'two', 'three']) {
    const plaintext = new TextEncoder().encode(text);
    rust.tell('receive', channel.seal(plaintext));
    assert.equal(Buffer.from(await rust.says('opened')).toString(), text);
    rust.tell('seal', plaintext);
    const [opened] = channel.open(await rust.says('send'));
    assert.equal(Buffer.from(opened).toString(), text);
  }
}

for (const [kind, secret] of [['words', WORDS], ['link', new Uint8Array(16).fill(7)]]) {
  test(`Rust joins, the script is there, with the same ${kind}`, async (t) => {
    const rust = new Rust(t, true, kind, secret);
    const side = script(false, { [kind]: secret });
    const { send: answer } = side.receive(await rust.says('send'));
    rust.tell('receive', answer);
    const { send: confirmation, verified } = side.receive(await rust.says('send'));
    assert.equal(hex(verified.fingerprint), hex(RUST));
    rust.tell('receive', confirmation);
    assert.equal(hex(await rust.says('verified')), hex(SCRIPT));
    await talk(rust, verified.channel);
  });

  test(`the script joins, Rust is there, with the same ${kind}`, async (t) => {
    const rust = new Rust(t, false, kind, secret);
    const side = script(true, { [kind]: secret });
    rust.tell('receive', side.begin());
    const { send: confirmation } = side.receive(await rust.says('send'));
    rust.tell('receive', confirmation);
    const last = await rust.says('send');
    assert.equal(hex(await rust.says('verified')), hex(SCRIPT));
    const { verified } = side.receive(last);
    assert.equal(hex(verified.fingerprint), hex(RUST));
    await talk(rust, verified.channel);
  });
}

test('Rust joins with wrong words', async (t) => {
  const rust = new Rust(t, true, 'words', new TextEncoder().encode('amber-badge'));
  const side = script(false, { words: WORDS });
  rust.tell('receive', side.receive(await rust.says('send')).send);
  const { wrong, send } = side.receive(await rust.says('send'));
  assert.ok(wrong);
  rust.tell('receive', send);
  await rust.says('wrong');
});

test('the script joins with wrong words', async (t) => {
  const rust = new Rust(t, false, 'words', WORDS);
  const side = script(true, { words: new TextEncoder().encode('amber-badge') });
  rust.tell('receive', side.begin());
  rust.tell('receive', side.receive(await rust.says('send')).send);
  const refusal = await rust.says('send');
  await rust.says('wrong');
  assert.ok(side.receive(refusal).wrong);
});

test('a frame that was changed or came twice is not opened', async (t) => {
  const rust = new Rust(t, false, 'words', WORDS);
  const side = script(true, { words: WORDS });
  rust.tell('receive', side.begin());
  rust.tell('receive', side.receive(await rust.says('send')).send);
  const { verified } = side.receive(await rust.says('send'));
  await rust.says('verified');
  const frame = verified.channel.seal(WORDS);
  const changed = frame.slice();
  changed[20] ^= 1;
  rust.tell('receive', changed);
  await rust.says('error');
  rust.tell('receive', frame);
  rust.tell('receive', frame);
  await rust.says('opened');
  rust.tell('seal', WORDS);
  const fromRust = await rust.says('send');
  const other = fromRust.slice();
  other[fromRust.length - 1] ^= 1;
  assert.throws(() => verified.channel.open(other));
  assert.equal(verified.channel.open(fromRust).length, 1);
  assert.equal(verified.channel.open(fromRust).length, 0);
});

test("the script's CPace is the draft's (appendix B.3)", () => {
  const session = bytes('7e4b4791d6a8ef019b936c79fb7f2c57');
  const channel = new TextEncoder().encode('\x0bA_initiator\x0bB_responder');
  const password = new TextEncoder().encode('Password');
  const a = cpaceShare(password, channel, session, bytes('da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08'));
  const b = cpaceShare(password, channel, session, bytes('d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d'));
  assert.equal(hex(a.share), 'd6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157');
  assert.equal(hex(b.share), '3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258');
  const joiner = { share: a.share, associated: new TextEncoder().encode('ADa') };
  const member = { share: b.share, associated: new TextEncoder().encode('ADb') };
  const key = 'b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd'
    + '2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447';
  assert.equal(hex(cpaceKey(a.scalar, session, joiner, member, member)), key);
  assert.equal(hex(cpaceKey(b.scalar, session, joiner, member, joiner)), key);
});
