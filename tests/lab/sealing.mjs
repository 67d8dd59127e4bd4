// What `crates/sealing` does, in JavaScript: a participant in a browser takes part for real, and two
// implementations that agree say more than one. The bytes are in docs/signaling-protocol.md.

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha512 } from '@noble/hashes/sha2.js';

const VERSION = 1;
const KIND = { share: 1, confirm: 2, refuse: 3, sealed: 4 };
const ROLE = { joiner: 1, member: 2 };
const SECRET = { words: 1, link: 2 };
const REFUSAL = { wrongCode: 1 };
const MAX_EARLY = 32;
const LENGTH = { share: 101, confirm: 66, header: 14, tag: 16 };
const ASSOCIATED_AT = 50;
const { Point } = ristretto255;

const text = new TextEncoder();
const random = (length) => crypto.getRandomValues(new Uint8Array(length));

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function u32(...numbers) {
  const bytes = new Uint8Array(4 * numbers.length);
  numbers.forEach((number, index) => new DataView(bytes.buffer).setUint32(4 * index, number));
  return bytes;
}

function u64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

function same(one, other) {
  if (one.length !== other.length) return false;
  let difference = 0;
  one.forEach((byte, index) => { difference |= byte ^ other[index]; });
  return difference === 0;
}

// CPace, draft-irtf-cfrg-cpace-21: sections 7 and 8.3, encodings of appendix A.

function withLength(bytes) {
  const length = [];
  let rest = bytes.length;
  do {
    length.push(rest < 128 ? rest : (rest & 127) | 128);
    rest >>= 7;
  } while (rest > 0);
  return concat(Uint8Array.from(length), bytes);
}

const lvCat = (...parts) => concat(...parts.map(withLength));

function generator(secret, channel, session) {
  const name = text.encode('CPaceRistretto255');
  const padding = Math.max(0, 128 - 1 - withLength(secret).length - withLength(name).length);
  return ristretto255_hasher.deriveToCurve(sha512(lvCat(name, secret, new Uint8Array(padding), channel, session)));
}

/** One side's secret scalar and its share. `scalarBytes` (32) only for the draft's vectors. */
export function cpaceShare(secret, channel, session, scalarBytes = random(32)) {
  const bytes = scalarBytes.slice();
  bytes[31] &= 15;
  const scalar = Point.Fn.create(bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n));
  return { scalar, share: generator(secret, channel, session).multiply(scalar).toBytes() };
}

/** The key (64 bytes). `ours` and `theirs` are `{ share, associated }`; the joiner's goes first. */
export function cpaceKey(scalar, session, joiner, member, theirs) {
  const element = Point.fromBytes(theirs.share);
  const point = element.multiply(scalar);
  if (element.is0() || point.is0()) throw new Error('neutral element');
  const transcript = concat(lvCat(joiner.share, joiner.associated), lvCat(member.share, member.associated));
  return sha512(concat(lvCat(text.encode('CPaceRistretto255_ISK'), session, point.toBytes()), transcript));
}

function associated(context, role, secret, from, to, fingerprint) {
  return concat(Uint8Array.of(VERSION, role, secret), u32(context.room, from, to, context.epoch ?? 1), fingerprint);
}

function channelIdentifier({ room, own, other, epoch = 1, joins }, secret) {
  const [joiner, member] = joins ? [own, other] : [other, own];
  return concat(text.encode('ahoy call'), Uint8Array.of(VERSION, secret), u32(room, joiner, member, epoch));
}

/**
 * One side of a handshake. `context`: `{ joins, room, own, other, epoch }`; `fingerprint`: 32 bytes of
 * our certificate; `secrets`: `{ words, link }` as bytes, of which a joiner uses the link's if it has it.
 * `receive` returns `{ send, verified, wrong, refused }` and throws on whatever an honest side never sends.
 */
export class Handshake {
  #state = 'waits';
  #context;
  #fingerprint;
  #secrets;
  #kind;
  #started;
  #sent;
  #keys;
  #remote;

  constructor(context, fingerprint, secrets) {
    this.#context = { epoch: 1, ...context };
    this.#fingerprint = fingerprint;
    this.#secrets = secrets;
  }

  /** The joiner's first message. */
  begin() {
    this.#kind = this.#secrets.link ? SECRET.link : SECRET.words;
    const session = random(16);
    this.#sent = this.#share(session);
    this.#state = 'started';
    return this.#sent;
  }

  #secret() {
    return this.#kind === SECRET.link ? this.#secrets.link : this.#secrets.words;
  }

  #share(session) {
    const { joins, own, other } = this.#context;
    const channel = channelIdentifier(this.#context, this.#kind);
    const { scalar, share } = cpaceShare(this.#secret(), channel, session);
    const ours = associated(this.#context, joins ? ROLE.joiner : ROLE.member, this.#kind, own, other, this.#fingerprint);
    this.#started = { scalar, session, share, associated: ours };
    return concat(Uint8Array.of(VERSION, KIND.share), session, share, ours);
  }

  receive(bytes) {
    if (bytes[0] !== VERSION) throw new Error('wrong version');
    const kind = bytes[1];
    if (kind === KIND.share && bytes.length === LENGTH.share) return this.#receiveShare(bytes);
    if (kind === KIND.confirm && bytes.length === LENGTH.confirm && this.#state === 'confirming') {
      return this.#conclude(bytes.slice(2));
    }
    if (kind === KIND.refuse && bytes.length === 3 && this.#context.joins && this.#state !== 'over') {
      const confirmed = this.#state === 'confirming';
      this.#state = 'over';
      return confirmed && bytes[2] === REFUSAL.wrongCode ? { wrong: true } : { refused: bytes[2] };
    }
    throw new Error(`message of kind ${kind} with ${bytes.length} bytes while ${this.#state}`);
  }

  #receiveShare(bytes) {
    const { joins, own, other } = this.#context;
    if (this.#state !== (joins ? 'started' : 'waits')) throw new Error('share out of turn');
    const session = bytes.slice(2, 18);
    const theirs = { share: bytes.slice(18, ASSOCIATED_AT), associated: bytes.slice(ASSOCIATED_AT) };
    const remote = bytes.slice(ASSOCIATED_AT + 19);
    if (!joins) this.#kind = bytes[ASSOCIATED_AT + 2];
    const expected = associated(this.#context, joins ? ROLE.member : ROLE.joiner, this.#kind, other, own, remote);
    if (!same(theirs.associated, expected)) throw new Error('for somebody else');
    if (joins && !same(session, this.#started.session)) throw new Error('of another run');
    if (!joins && !this.#secret()) return { refused: 3, send: Uint8Array.of(VERSION, KIND.refuse, 3) };
    const answer = joins ? undefined : this.#share(session);
    const ours = this.#started;
    if (same(ours.share, theirs.share)) throw new Error('reflected');
    const [joiner, member] = joins ? [ours, theirs] : [theirs, ours];
    const shared = cpaceKey(ours.scalar, session, joiner, member, theirs);
    const transcript = sha512(joins ? concat(this.#sent, bytes) : concat(bytes, answer));
    const key = (label, length) => hkdf(sha512, shared, text.encode('ahoy sealing 1'), concat(text.encode(label), transcript), length);
    this.#keys = {
      confirmation: {
        joiner: hmac(sha512, key('joiner confirms', 64), transcript),
        member: hmac(sha512, key('member confirms', 64), transcript),
      },
      frames: { joiner: key('joiner seals', 32), member: key('member seals', 32) },
    };
    this.#remote = remote;
    this.#state = 'confirming';
    return { send: answer ?? concat(Uint8Array.of(VERSION, KIND.confirm), this.#keys.confirmation.joiner) };
  }

  #conclude(mac) {
    const { joins } = this.#context;
    const { confirmation, frames } = this.#keys;
    const right = same(mac, joins ? confirmation.member : confirmation.joiner);
    this.#state = 'over';
    const [ours, theirs] = joins ? [frames.joiner, frames.member] : [frames.member, frames.joiner];
    const outcome = right
      ? { verified: { channel: new Channel(this.#context, ours, theirs), fingerprint: this.#remote } }
      : { wrong: true };
    if (joins) return outcome;
    const send = right
      ? concat(Uint8Array.of(VERSION, KIND.confirm), confirmation.member)
      : Uint8Array.of(VERSION, KIND.refuse, REFUSAL.wrongCode);
    return { send, ...outcome };
  }
}

/** Whether `bytes` are for a channel rather than for a handshake. */
export const isSealed = (bytes) => bytes[1] === KIND.sealed;

/** Seals for the other side, and opens what it sealed: in order, each once. */
export class Channel {
  #context;
  #sealing;
  #opening;
  #sent = 0;
  #received = 0;
  #early = new Map();

  constructor(context, sealing, opening) {
    this.#context = context;
    this.#sealing = sealing;
    this.#opening = opening;
  }

  #parts(from, to, epoch, sequence) {
    const header = concat(Uint8Array.of(VERSION, KIND.sealed), u32(epoch), u64(sequence));
    return {
      header,
      nonce: concat(new Uint8Array(12), u32(epoch), u64(sequence)),
      associated: concat(header, u32(this.#context.room, from, to)),
    };
  }

  seal(plaintext) {
    const { own, other, epoch } = this.#context;
    const { header, nonce, associated: data } = this.#parts(own, other, epoch, ++this.#sent);
    return concat(header, xchacha20poly1305(this.#sealing, nonce, data).encrypt(plaintext));
  }

  /** The plaintexts that are now in order. Throws when the frame was changed. */
  open(frame) {
    const { own, other, epoch } = this.#context;
    if (frame.length < LENGTH.header + LENGTH.tag || frame[0] !== VERSION || !isSealed(frame)) throw new Error('no frame');
    const view = new DataView(frame.buffer, frame.byteOffset);
    if (view.getUint32(2) !== epoch) throw new Error('of another epoch');
    const sequence = Number(view.getBigUint64(6));
    if (sequence <= this.#received || this.#early.has(sequence)) return [];
    if (sequence > this.#received + 1 + MAX_EARLY) throw new Error('too early');
    const { nonce, associated: data } = this.#parts(other, own, epoch, sequence);
    const plaintext = xchacha20poly1305(this.#opening, nonce, data).decrypt(frame.slice(LENGTH.header));
    this.#early.set(sequence, plaintext);
    const ready = [];
    while (this.#early.has(this.#received + 1)) {
      this.#received += 1;
      ready.push(this.#early.get(this.#received));
      this.#early.delete(this.#received);
    }
    return ready;
  }
}
