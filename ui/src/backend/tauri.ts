// The app behind the window, through the generated commands.

import { Channel } from "@tauri-apps/api/core";
import { commands, type UiMessage, type VideoAddress } from "../bindings";
import { BackendError, type Backend } from "../backend";
import { systemClock } from "../state/clock";
import { VideoConnection } from "../video/connection";

type Outcome<T> = { status: "ok"; data: T } | { status: "error"; error: { code: string; message: string } };

/** Whether the page runs inside the app. */
export function insideTauri(): boolean {
  return "__TAURI_INTERNALS__" in window;
}

/** Pictures under way, by the number of the subscription. */
const streams = new Map<number, VideoConnection>();
let lastStream = 0;

export const tauriBackend: Backend = {
  appState: () => commands.getAppState(),
  async watch(listener) {
    const channel = new Channel<UiMessage>();
    channel.onmessage = listener;
    await done(commands.watchCall(channel));
  },
  newCall: () => done(commands.newCall()),
  joinCall: (text) => done(commands.joinCall(text)),
  reopenCall: (text) => done(commands.reopenCall(text)),
  hangUp: () => done(commands.hangUp()),
  renewCode: () => done(commands.renewCode()),
  checkCode: (text) => commands.checkCode(text),
  completeWord: (prefix) => commands.completeWord(prefix),
  setMicrophoneMuted: (muted) => done(commands.setMicrophoneMuted(muted)),
  setCameraOn: (on) => done(commands.setCameraOn(on)),
  selectCamera: (selection) => done(commands.selectCamera(selection)),
  selectMicrophone: (selection) => done(commands.selectMicrophone(selection)),
  selectSpeaker: (selection) => done(commands.selectSpeaker(selection)),
  setVideoConstraints: (constraints) => done(commands.setVideoConstraints(constraints)),
  setProcessing: (processing) => done(commands.setProcessing(processing)),
  listDevices: () => data(commands.listDevices()),
  examineConnection: () => data(commands.examineConnection()),
  playTestSound: () => done(commands.playTestSound()),
  saveSettings: (settings) => done(commands.saveSettings(settings)),
  removeRecentCall: (id) => done(commands.removeRecentCall(id)),
  restoreRecentCall: (call) => done(commands.restoreRecentCall(call)),
  copyText: (text) => done(commands.copyText(text)),
  stats: () => data(commands.getStats()),
  async subscribeVideo(tile, frame) {
    const open = () => data(commands.openVideo(tile));
    // Somebody who has left is told at once; a connection that breaks is made anew.
    let first: VideoAddress | null = await open();
    const address = async () => {
      const taken = first ?? (await open());
      first = null;
      return taken;
    };
    const id = ++lastStream;
    streams.set(id, new VideoConnection({ open: address, clock: systemClock, message: frame }));
    return { id };
  },
  acknowledgeVideo: ({ id }, seq, givenUp) => streams.get(id)?.send(`${seq} ${givenUp}`),
  requestKeyFrame: ({ id }) => streams.get(id)?.send("key"),
  unsubscribeVideo({ id }) {
    streams.get(id)?.close();
    streams.delete(id);
  },
  openRawVideo: (tile) => data(commands.openRawVideo(tile)),
  setFullscreen: (on) => done(commands.setFullscreen(on)),
  closeWindow: () => done(commands.closeWindow()),
};

async function data<T>(outcome: Promise<Outcome<T> | T>): Promise<T> {
  const result = await outcome;
  if (!isOutcome(result)) return result;
  if (result.status === "error") throw new BackendError(result.error.code, result.error.message);
  return result.data;
}

async function done(outcome: Promise<unknown>): Promise<void> {
  await data(outcome);
}

function isOutcome<T>(result: Outcome<T> | T): result is Outcome<T> {
  return typeof result === "object" && result !== null && "status" in result;
}
