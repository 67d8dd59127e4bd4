// A PulseAudio daemon of its own, with a virtual speaker and a virtual microphone: the real
// server and the real client API, without a sound card.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { check, eventually, start } from './process.mjs';
import { RATE } from './sound.mjs';

/** How the virtual devices are called, for people and for `device:` selections. */
export const SPEAKER_NAME = 'Lab_Speaker';
export const MICROPHONE_NAME = 'Lab_Microphone';

/**
 * Starts a daemon. `speakers`/`microphones`: how many of each (0 is possible: a machine without).
 * Further ones are called `Lab_Speaker_2` and so on. `stereo`: the microphones are. Use `sound.env`
 * for the programs under test.
 */
export async function startSound(lab, { speakers = 1, microphones = 1, stereo = false, name = 'sound' } = {}) {
  const home = lab.file(name);
  const runtime = path.join(home, 'run');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const socket = path.join(runtime, 'pulse', 'native');
  const env = {
    HOME: home,
    XDG_RUNTIME_DIR: runtime,
    PULSE_SERVER: `unix:${socket}`,
    PULSE_RUNTIME_PATH: undefined,
    PULSE_COOKIE: undefined,
    XDG_CONFIG_HOME: undefined,
    TMPDIR: lab.folder,
    DBUS_SESSION_BUS_ADDRESS: undefined,
  };
  const script = path.join(home, 'lab.pa');
  writeFileSync(script, ['load-module module-native-protocol-unix auth-anonymous=1',
    ...Array.from({ length: speakers }, (_, index) => speakerModule(index + 1)),
    ...Array.from({ length: microphones }, (_, index) => microphoneModules(index + 1, stereo)).flat(),
    speakers > 0 ? 'set-default-sink speaker1' : '',
    microphones > 0 ? 'set-default-source microphone1' : '',
    ''].join('\n'));
  const daemon = lab.start('pulseaudio',
    ['--daemonize=no', '--exit-idle-time=-1', '--log-target=stderr', '-n', '-F', script],
    // A display leads to a desktop's session bus, which knows one PulseAudio at a time.
    { env: { ...env, DISPLAY: undefined, WAYLAND_DISPLAY: undefined } });
  const sound = new Sound(lab, daemon, env, home, stereo);
  await eventually(() => sound.control('info'), 8000, 'PulseAudio answers');
  return sound;
}

// norewinds=1: otherwise a null sink works in blocks of 2 s and playback stalls.
const speakerModule = (number) =>
  `load-module module-null-sink sink_name=speaker${number} rate=${RATE} channels=2 norewinds=1 `
  + `sink_properties=device.description="${SPEAKER_NAME}${number > 1 ? `_${number}` : ''}"`;

const microphoneModules = (number, stereo) => [
  `load-module module-null-sink sink_name=feed${number} rate=${RATE} channels=${stereo ? 2 : 1} norewinds=1 `
  + `sink_properties=device.description="Lab_Feed_${number}"`,
  `load-module module-remap-source source_name=microphone${number} master=feed${number}.monitor channels=${stereo ? 2 : 1} `
  + `source_properties=device.description="${MICROPHONE_NAME}${number > 1 ? `_${number}` : ''}"`,
];

/** One channel of interleaved 16 bit samples. */
function samplesOf(bytes, channels, channel) {
  const samples = new Float32Array(Math.floor(bytes.length / (2 * channels)));
  for (let index = 0; index < samples.length; index += 1) {
    samples[index] = bytes.readInt16LE((index * channels + channel) * 2) / 32768;
  }
  return samples;
}

class Sound {
  constructor(lab, daemon, env, home, stereo) {
    this.lab = lab;
    this.daemon = daemon;
    /** Environment for programs that are to use this daemon. */
    this.env = env;
    this.home = home;
    this.stereo = stereo;
  }

  /** Runs `pactl`; returns what it prints. */
  async control(...args) {
    return (await check('pactl', args, { env: this.env, timeoutMs: 20_000 })).stdout;
  }

  /** What is said into a microphone from now on: a WAV file, until the returned program is stopped. */
  speak(wav, microphone = 1) {
    return this.lab.start('paplay', [`--device=feed${microphone}`, wav], { env: this.env });
  }

  /** From now on the microphone hears what the speaker plays, at this share of its level. */
  async openSpeaker(share) {
    await this.control('load-module', 'module-loopback', 'source=speaker1.monitor', 'sink=feed1', 'latency_msec=20', 'adjust_time=0',
      'source_dont_move=true', 'sink_dont_move=true');
    const [loop] = (await this.control('list', 'short', 'sink-inputs')).trim().split('\t');
    await this.control('set-sink-input-volume', loop, String(share));
  }

  /** Records for `seconds` what a speaker plays; returns mono samples at 48 kHz. */
  async record(seconds, speaker = 1) {
    return samplesOf(await this.#recordBytes(seconds, `speaker${speaker}.monitor`, 1), 1, 0);
  }

  /** Records for `seconds` what a speaker plays; returns its left and its right samples at 48 kHz. */
  async recordStereo(seconds, speaker = 1) {
    const bytes = await this.#recordBytes(seconds, `speaker${speaker}.monitor`, 2);
    return [samplesOf(bytes, 2, 0), samplesOf(bytes, 2, 1)];
  }

  async #recordBytes(seconds, source, channels) {
    const wanted = Math.round(seconds * RATE) * 2 * channels;
    const chunks = [];
    let length = 0;
    const recorder = start('parec', [`--device=${source}`, `--rate=${RATE}`, `--channels=${channels}`, '--format=s16le',
      '--latency-msec=50'], {
      env: this.env,
      binaryOutput: (chunk) => {
        chunks.push(chunk);
        length += chunk.length;
      },
    });
    try {
      await eventually(() => {
        if (!recorder.alive) throw new Error(recorder.describe());
        return length >= wanted;
      }, seconds * 1000 + 5000, `recording ${seconds} s from ${source}`);
    } finally {
      await recorder.stop();
    }
    return Buffer.concat(chunks).subarray(0, wanted);
  }

  /** Pulls a microphone's plug. */
  async unplugMicrophone(microphone = 1) {
    const modules = await this.control('list', 'short', 'modules');
    const name = `source_name=microphone${microphone} `;
    const [number] = modules.split('\n').find((line) => line.includes(name))?.split('\t') ?? [];
    if (number === undefined) throw new Error(`microphone ${microphone} is not plugged in:\n${modules}`);
    await this.control('unload-module', number);
  }

  /** Puts the plug back. */
  async plugMicrophone(microphone = 1) {
    const [, words] = microphoneModules(microphone, this.stereo)[1].match(/^load-module (.*)$/);
    const [module, ...options] = words.match(/[^ "]+(?:"[^"]*")?/g);
    await this.control('load-module', module, ...options);
  }

  /** Streams that programs have open: `{ playing, recording }`, from `pactl list`. */
  async streams() {
    const count = async (kind) => (await this.control('list', 'short', kind)).split('\n').filter(Boolean).length;
    return { playing: await count('sink-inputs'), recording: await count('source-outputs') };
  }
}
