// Chromium as one side of a measured call: speaks the same messages over its WebSocket as
// `ahoy-peer bench` does, so that a harness can put either on either side.

const options = new URLSearchParams(location.search);
const role = options.get('role');
const width = Number(options.get('width'));
const height = Number(options.get('height'));
const frameRate = Number(options.get('fps'));
const now = () => performance.timeOrigin + performance.now();

const socket = new WebSocket(options.get('socket'));
const send = (message) => {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
};
const fail = (error) => send({ type: 'error', error: String(error?.stack ?? error) });
addEventListener('error', (event) => fail(event.error ?? event.message));
addEventListener('unhandledrejection', (event) => fail(event.reason));

const log = { cap: [], disp: [], audioGen: [], audioDet: [] };
let marked = false;
const told = new Set();
const tell = (name) => {
  if (told.has(name)) return;
  told.add(name);
  send({ type: 'event', name, t: now() });
};

// ---- frame stamp

const crc8 = (bytes) => {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 7) & 255 : crc << 1;
  }
  return crc;
};
const split = (number) => [(number >> 16) & 255, (number >> 8) & 255, number & 255];

function readStamp(lumaAt, cell) {
  let bits = 0;
  for (let index = 0; index < 32; index += 1) {
    let sum = 0;
    for (const dy of [-0.2, 0, 0.2]) {
      for (const dx of [-0.2, 0, 0.2]) sum += lumaAt(Math.floor((index + 0.5 + dx) * cell), Math.floor((0.5 + dy) * cell));
    }
    bits = bits * 2 + (sum / 9 > 126 ? 1 : 0);
  }
  const number = Math.floor(bits / 256);
  return crc8(split(number)) === bits % 256 ? number : undefined;
}

// ---- pictures that are sent

/** A canvas with a stamp and moving detail; the frame number counts up for ever. */
function canvasTrack() {
  const canvas = document.getElementById('source');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { alpha: false });
  const texture = new OffscreenCanvas(width + 256, height + 256);
  const paint = texture.getContext('2d');
  for (let n = 0; n < 4000; n += 1) {
    paint.fillStyle = `hsl(${(n * 37) % 360} 40% ${20 + ((n * 13) % 60)}%)`;
    paint.fillRect((n * 7919) % texture.width, (n * 104729) % texture.height, 6 + (n % 40), 6 + (n % 23));
  }
  const [track] = canvas.captureStream(0).getVideoTracks();
  let number = 0;
  const cell = Math.floor(width / 32);
  setInterval(() => {
    const turn = (2 * Math.PI * number) / 90;
    context.drawImage(texture, -128 + 60 * Math.sin(turn), -128 + 60 * Math.cos(turn));
    const bytes = split(number);
    [...bytes, crc8(bytes)].forEach((byte, group) => {
      for (let bit = 0; bit < 8; bit += 1) {
        context.fillStyle = (byte >> (7 - bit)) & 1 ? '#fff' : '#000';
        context.fillRect((group * 8 + bit) * cell, 0, cell, cell);
      }
    });
    track.requestFrame();
    log.cap.push([number, now()]);
    number += 1;
  }, 1000 / frameRate);
  return track;
}

/** The camera, here a y4m file that Chromium plays; notes when each frame came out of it. */
async function cameraTrack() {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { width: { exact: width }, height: { exact: height }, frameRate: { ideal: frameRate } },
  });
  const [track] = stream.getVideoTracks();
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 2 }).readable.getReader();
  const rows = 2 * Math.ceil(width / 64);
  let luma;
  (async () => {
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) return;
      const at = now();
      const rect = { x: 0, y: 0, width, height: rows };
      luma ??= new Uint8Array(frame.allocationSize({ rect }));
      const [plane] = await frame.copyTo(luma, { rect });
      frame.close();
      const number = readStamp((x, y) => luma[plane.offset + y * plane.stride + x], width / 32);
      if (number !== undefined) log.cap.push([number, at]);
    }
  })().catch(fail);
  return track;
}

// ---- sound

const worklet = `
registerProcessor('pulses', class extends AudioWorkletProcessor {
  constructor() { super(); this.next = 0.5; this.phase = -1; }
  process(inputs, [[out]]) {
    for (let i = 0; i < out.length; i += 1) {
      const time = currentTime + i / sampleRate;
      if (time >= this.next) { this.phase = 0; this.next += 0.9 + 0.1 * Math.random(); this.port.postMessage(Date.now()); }
      out[i] = 0.0005 * (Math.random() - 0.5);
      if (this.phase >= 0) {
        out[i] += 0.5 * Math.sin(2 * Math.PI * 1000 * this.phase / sampleRate);
        this.phase += 1;
        if (this.phase >= 0.01 * sampleRate) this.phase = -1;
      }
    }
    return true;
  }
});
registerProcessor('listener', class extends AudioWorkletProcessor {
  constructor() { super(); this.quietUntil = 0; this.sum = 0; this.count = 0; }
  process([[input]]) {
    if (!input) return true;
    for (let i = 0; i < input.length; i += 1) {
      const time = currentTime + i / sampleRate;
      if (Math.abs(input[i]) > 0.12 && time >= this.quietUntil) {
        this.quietUntil = time + 0.4;
        this.port.postMessage({ pulse: Date.now() });
      }
      this.sum += input[i] * input[i];
      this.count += 1;
    }
    if (this.count >= sampleRate / 2) {
      this.port.postMessage({ rms: Math.sqrt(this.sum / this.count) });
      this.sum = 0; this.count = 0;
    }
    return true;
  }
});`;

async function sound() {
  if (['devices', 'unprocessed'].includes(options.get('audio'))) {
    const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const constraints = { audio: options.get('audio') === 'devices' ? true : off };
    const [track] = (await navigator.mediaDevices.getUserMedia(constraints)).getAudioTracks();
    return { track };
  }
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: 'text/javascript' })));
  await context.resume();
  const output = context.createMediaStreamDestination();
  if (options.get('audio') === 'pulse') {
    const pulses = new AudioWorkletNode(context, 'pulses');
    pulses.port.onmessage = ({ data }) => log.audioGen.push(data);
    pulses.connect(output);
  } else {
    const tone = new OscillatorNode(context, { frequency: 440 });
    const volume = new GainNode(context, { gain: 0.15 });
    tone.connect(volume).connect(output);
    tone.start();
  }
  return { context, track: output.stream.getAudioTracks()[0] };
}

let receivedLevel;
function listen(context, track) {
  const stream = new MediaStream([track]);
  // A remote track runs through Web Audio only while an element plays it as well.
  const element = new Audio();
  element.muted = context !== undefined;
  element.srcObject = stream;
  element.play().catch(fail);
  if (!context) return;
  const listener = new AudioWorkletNode(context, 'listener');
  listener.port.onmessage = ({ data }) => {
    if (data.pulse !== undefined) log.audioDet.push(data.pulse);
    else receivedLevel = data.rms;
  };
  context.createMediaStreamSource(stream).connect(listener).connect(context.destination);
}

// ---- pictures that arrive

function watch(track) {
  const video = document.getElementById('remote');
  video.srcObject = new MediaStream([track]);
  video.play().catch(fail);
  const row = new OffscreenCanvas(320, 10).getContext('2d', { willReadFrequently: true, alpha: false });
  const shown = (_, frame) => {
    video.requestVideoFrameCallback(shown);
    tell('firstFrame');
    if (frame.width >= width) tell('fullRes');
    if (!marked) return;
    row.drawImage(video, 0, 0, frame.width, frame.width / 32, 0, 0, 320, 10);
    const { data } = row.getImageData(0, 0, 320, 10);
    const number = readStamp((x, y) => {
      const at = (y * 320 + x) * 4;
      return 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    }, 10);
    log.disp.push([number ?? null, performance.timeOrigin + frame.presentationTime,
      performance.timeOrigin + frame.expectedDisplayTime, frame.width]);
  };
  video.requestVideoFrameCallback(shown);
}

// ---- the connection

const connection = new RTCPeerConnection();
connection.onicecandidate = ({ candidate }) => {
  if (!candidate?.candidate) return;
  send({ type: 'candidate', candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex });
};
connection.onconnectionstatechange = () => {
  if (connection.connectionState === 'connected') tell('connected');
  if (connection.connectionState === 'failed') fail('the connection failed');
};

async function statistics() {
  const found = {};
  for (const entry of (await connection.getStats()).values()) {
    if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') found.pair = entry;
    else if (entry.kind && /^(remote-)?(in|out)bound-rtp$/.test(entry.type)) found[`${entry.type}:${entry.kind}`] = entry;
  }
  if (receivedLevel !== undefined) found.receivedLevel = { rms: receivedLevel };
  return found;
}

async function tick() {
  const found = await statistics();
  const received = found['inbound-rtp:video'];
  send({
    type: 'tick', t: now(), bytes: received?.bytesReceived, frames: received?.framesDecoded, w: received?.frameWidth,
    target: found['outbound-rtp:video']?.targetBitrate, avail: found.pair?.availableOutgoingBitrate,
    rtt: found.pair?.currentRoundTripTime,
  });
}

const waiting = [];
async function addCandidate(candidate) {
  if (connection.remoteDescription) await connection.addIceCandidate(candidate);
  else waiting.push(candidate);
}

async function remote(description) {
  await connection.setRemoteDescription(description);
  for (const candidate of waiting.splice(0)) await connection.addIceCandidate(candidate);
}

async function main() {
  const { context, track: audio } = await sound();
  const video = options.get('source') === 'camera' ? await cameraTrack() : canvasTrack();
  video.contentHint = 'motion';
  const stream = new MediaStream([audio, video]);
  connection.ontrack = ({ track }) => (track.kind === 'audio' ? listen(context, track) : watch(track));
  if (role === 'caller') {
    connection.addTrack(audio, stream);
    connection.addTrack(video, stream);
  }
  const preferVp8 = () => {
    const codecs = RTCRtpReceiver.getCapabilities('video').codecs.filter((codec) => /VP8|rtx/.test(codec.mimeType));
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(codecs);
    }
  };
  let ticking;
  const handlers = {
    async start() {
      tell('createOffer');
      preferVp8();
      await connection.setLocalDescription();
      send({ type: 'offer', sdp: connection.localDescription.sdp });
    },
    async offer({ sdp }) {
      await remote({ type: 'offer', sdp });
      connection.addTrack(audio, stream);
      connection.addTrack(video, stream);
      preferVp8();
      await connection.setLocalDescription();
      send({ type: 'answer', sdp: connection.localDescription.sdp });
    },
    answer: ({ sdp }) => remote({ type: 'answer', sdp }),
    candidate: addCandidate,
    async mark({ name }) {
      marked = name === 'begin';
      if (marked) ticking = setInterval(() => tick().catch(fail), 1000);
      else clearInterval(ticking);
      if (!marked) flush();
      send({ type: 'stats', name, stats: await statistics() });
    },
    bye() {
      connection.close();
      socket.close();
    },
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    Promise.resolve(handlers[message.type]?.(message)).catch(fail);
  };
  const flush = () => {
    send({ type: 'log', ...log });
    for (const key of Object.keys(log)) log[key] = [];
  };
  setInterval(flush, 500);
  send({ type: 'ready', t: now() });
}

socket.onopen = () => main().catch(fail);
