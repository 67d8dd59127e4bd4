// The window's state: one model, changed by what the app reports and by what the person does.
// Runs without a view; components read the model and call the methods.

import type { Backend } from "../backend";
import { BackendError } from "../backend";
import type { CallEvent, CallView, Check, DeviceKind, Notice, RecentCall, UiMessage, VideoConstraints } from "../bindings";
import { Announcer } from "./announcer";
import type { Clock } from "./clock";
import { serverInLink, type LinkServer } from "./invite";
import { Levels, type LevelFrame } from "./levels";
import { endedCall, firstModel, type Dialog, type Model, type SettingsSection } from "./model";
import { News } from "./news";
import { Notes } from "./notes";
import { screenOf, SETTLE_MS, type Intent } from "./screen";
import { completed, type Processing, type Settings } from "./settings";
import { testSoundProblem } from "./readiness";
import { Speaking } from "./speaking";
import { CallClock } from "./time";
import type { Words } from "./words";

/** How long a copy button reads "Copied". */
export const COPIED_MS = 2000;
/** How long a level above {@link HEARD} counts as "we can hear you". */
export const HEARD_MS = 12_000;
const HEARD = 0.02;
/** From here the waiting screen says that nobody has come yet. */
export const LONG_WAIT_MS = 600_000;
/** From here the stage says which step the connection is at. */
export const SLOW_CONNECT_MS = 3000;

/** Devices that come and go together are asked for once. */
export const DEVICES_MS = 100;
/** A switch that was turned is believed for this long: snapshots come every 100 ms. */
export const TURN_MS = 500;

type LocalSwitches = Pick<CallView["local"], "microphoneMuted" | "cameraOn">;

export class App {
  readonly levels = new Levels();
  readonly callClock = new CallClock();
  readonly notes: Notes;

  #model: Model;
  #listeners = new Set<(model: Model) => void>();
  #announcer: Announcer;
  #news: News;
  #speaking = new Speaking();
  #heardUntil = 0;
  #heardTimer: number | null = null;
  /** The command about the microphone that the app is busy with. */
  #muting: Promise<void> | null = null;
  #devicesTimer: number | null = null;
  #copiedTimer: number | null = null;
  #slowTimer: number | null = null;
  #endSeen = false;
  /** Switches as they were turned, while the app's answer is awaited. */
  #turned: Partial<LocalSwitches> = {};
  /** Full screen was asked for here, not by the window manager: then it ends with the call. */
  #fullScreenAsked = false;
  /** The newest snapshot as it came. */
  #reported: CallView | null = null;

  constructor(
    readonly backend: Backend,
    readonly clock: Clock,
    private readonly words: Words,
    systemDark: boolean,
  ) {
    this.notes = new Notes(clock, (note) => this.#set({ note }));
    this.#announcer = new Announcer(clock, (announcement) => this.#set({ announcement }));
    this.#news = new News(clock, this.notes, this.#announcer, words, {
      renewCode: () => this.renewCode(),
      unmute: () => this.setMicrophoneMuted(false),
      suppressNoise: () => this.setProcessing({ noiseSuppression: true }),
      chooseMicrophone: () => this.openSettings("sound"),
    });
    this.#model = firstModel(systemDark);
  }

  get model(): Model {
    return this.#model;
  }

  /** Returns what ends it. */
  subscribe(listener: (model: Model) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Asks the app for everything and follows it from then on. */
  async start(): Promise<void> {
    try {
      const state = await this.backend.appState();
      this.#set({
        phase: "ready",
        settings: completed(state.settings),
        recentCalls: state.recentCalls,
        platform: state.platform,
        version: state.version,
        systemDark: state.platform.themeDark,
        fullScreen: state.fullScreen,
        lobby: state.invite,
      });
      for (const notice of state.notices) this.#notice(notice);
      await this.backend.watch((message) => this.handle(message));
      await this.refreshDevices();
    } catch (error) {
      this.#set({ phase: "failed", failure: messageOf(error) });
    }
  }

  /** One message from the app. */
  handle(message: UiMessage): void {
    switch (message.type) {
      case "view":
        this.#reported = message.view;
        this.#view(message.view);
        break;
      case "event":
        this.#event(message.event);
        break;
      case "levels":
        this.#level({
          local: { rms: message.local.rms ?? 0, peak: message.local.peak ?? 0 },
          participants: message.participants.map(([id, level]) => [id, level ?? 0] as const),
        });
        break;
      case "recentCalls":
        this.#set({ recentCalls: message.recentCalls });
        break;
      case "settings":
        this.#set({ settings: completed(message.settings) });
        break;
      case "devices":
        this.#set({ devices: message.devices });
        break;
      case "notice":
        this.#notice(message.notice);
        break;
      case "theme":
        this.#set({ systemDark: message.dark });
        break;
      case "fullScreen":
        // The window manager's word counts, also where it does what we have not asked for.
        if (!message.on) this.#fullScreenAsked = false;
        this.#set({ fullScreen: message.on });
        break;
      case "closeRequested":
        this.#set({ dialog: "closing" });
        break;
    }
  }

  // Calls

  newCall(): void {
    this.#request("new", "", null, () => this.backend.newCall());
  }

  /** `text`: a room code or an invite link; `shown`: what the field keeps of it if it fails. */
  join(text: string, shown = text): void {
    const server = serverInLink(text);
    this.#request("join", shown, server === null ? null : { name: server, kept: shown !== text }, () => this.backend.joinCall(text));
  }

  /** Joins a former call, or opens its room again; `shown` as for {@link join}. */
  reopen(text: string, shown: string): void {
    const server = serverInLink(text);
    this.#request("join", shown, server === null ? null : { name: server, kept: shown !== text }, () => this.backend.reopenCall(text));
  }

  /** New words for the room; those inside get them too. */
  renewCode(): void {
    void this.#try(this.backend.renewCode());
  }

  hangUp(): void {
    void this.#try(this.backend.hangUp());
  }

  /** Opens the lobby for an invite link. */
  openLobby(text: string): void {
    this.#set({ lobby: text, problem: null });
  }

  goHome(): void {
    this.#endSeen = true;
    this.#set({ lobby: null, problem: null, intent: null, ended: null });
  }

  clearProblem(): void {
    if (this.#model.problem) this.#set({ problem: null });
  }

  // Our own side

  toggleMicrophone(): void {
    // Pressed while Space is held, it means what it says then: stay unmuted.
    if (this.#model.talking) return this.#set({ talking: false });
    this.#turnMicrophone(!this.#model.call.local.microphoneMuted);
  }

  /** Push-to-talk: unmutes until {@link stopTalking}. Whether it does. */
  startTalking(): boolean {
    const { screen, talking, call } = this.#model;
    if (screen !== "call" || talking || !call.local.microphoneMuted) return false;
    this.#set({ talking: true });
    this.#turnMicrophone(false);
    return true;
  }

  /** Mutes again, if push-to-talk is what unmuted. */
  stopTalking(): void {
    if (!this.#model.talking) return;
    this.#news.talked();
    this.#set({ talking: false });
    this.#turnMicrophone(true);
  }

  toggleCamera(): void {
    const cameraOn = !this.#model.call.local.cameraOn;
    this.#turn({ cameraOn }, this.backend.setCameraOn(cameraOn));
  }

  setMicrophoneMuted(muted: boolean): void {
    if (muted !== this.#model.call.local.microphoneMuted) this.toggleMicrophone();
  }

  setCameraOn(on: boolean): void {
    if (on !== this.#model.call.local.cameraOn) this.toggleCamera();
  }

  select(kind: DeviceKind, selection: string): void {
    this.#set({ settings: { ...this.#model.settings, [kind]: selection } });
    switch (kind) {
      case "camera":
        void this.#try(this.backend.selectCamera(selection));
        break;
      case "microphone":
        void this.#try(this.backend.selectMicrophone(selection));
        break;
      case "speaker":
        void this.#try(this.backend.selectSpeaker(selection));
        break;
    }
  }

  setConstraints(constraints: VideoConstraints): void {
    this.#set({ settings: { ...this.#model.settings, constraints } });
    void this.#try(this.backend.setVideoConstraints(constraints));
  }

  /** Takes effect at once, and is what it was if the app refuses. */
  setProcessing(change: Partial<Processing>): void {
    const before = this.#model.settings.processing;
    const processing = { ...before, ...change };
    this.#set({ settings: { ...this.#model.settings, processing } });
    this.backend.setProcessing(processing).catch((error: unknown) => {
      this.#refused(error);
      const { settings } = this.#model;
      if (settings.processing === processing) this.#set({ settings: { ...settings, processing: before } });
    });
  }

  async refreshDevices(): Promise<void> {
    const devices = await this.#try(this.backend.listDevices());
    if (devices) this.#set({ devices });
  }

  /** Looks for the camera again: a fresh list, and the same choice once more. */
  lookAgain(): void {
    this.#set({ asking: true });
    void this.refreshDevices().then(async () => {
      await this.#try(this.backend.selectCamera(this.#model.settings.camera));
      this.#set({ asking: false });
    });
  }

  playTestSound(): void {
    if (testSoundProblem(this.#model.call.local.speaker, this.#model.settings) !== null) return;
    void this.#try(this.backend.playTestSound());
  }

  // Settings and the rest of the window

  saveSettings(change: Partial<Settings>): void {
    const settings = { ...this.#model.settings, ...change };
    this.#set({ settings });
    void this.#try(this.backend.saveSettings(settings));
  }

  /** What stands in the way of calls; `null` when the app cannot say. */
  async examineConnection(): Promise<Check[] | null> {
    return (await this.#try(this.backend.examineConnection())) ?? null;
  }

  openSettings(section: SettingsSection = this.#model.section): void {
    this.#set({ dialog: "settings", section });
    void this.refreshDevices();
  }

  openDialog(dialog: Dialog): void {
    this.#set({ dialog });
  }

  closeDialog(): void {
    this.#set({ dialog: null });
  }

  showSection(section: SettingsSection): void {
    this.#set({ section });
  }

  toggleStats(): void {
    this.#set({ statsOpen: !this.#model.statsOpen });
  }

  openStats(): void {
    if (!this.#model.statsOpen) this.#set({ statsOpen: true });
  }

  toggleFullScreen(): void {
    this.#fullScreen(!this.#model.fullScreen);
  }

  /** Closed by hand. */
  closeNote(key: string): void {
    this.#news.closed(key);
  }

  closeNotice(code: Notice["code"]): void {
    this.#set({ notices: this.#model.notices.filter((other) => other.code !== code) });
  }

  closeWindow(): void {
    void this.#try(this.backend.closeWindow());
  }

  toggleWholePictures(): void {
    this.#set({ wholePictures: !this.#model.wholePictures });
  }

  async copy(what: "code" | "link" | "report", text: string): Promise<void> {
    if ((await this.#try(this.backend.copyText(text).then(() => true))) !== true) return;
    if (this.#copiedTimer !== null) this.clock.clear(this.#copiedTimer);
    this.#set({ copied: what });
    this.#announcer.polite(this.words.copied());
    this.#copiedTimer = this.clock.after(COPIED_MS, () => {
      this.#copiedTimer = null;
      this.#set({ copied: null });
    });
  }

  removeRecent(call: RecentCall): void {
    this.#set({ recentCalls: this.#model.recentCalls.filter((other) => other.id !== call.id) });
    void this.#try(this.backend.removeRecentCall(call.id));
    this.notes.push({
      key: "recent",
      tone: "plain",
      title: this.words.recentRemoved(),
      action: {
        label: this.words.undo(),
        run: () => {
          this.notes.close("recent");
          void this.#try(this.backend.restoreRecentCall(call));
        },
      },
    });
  }

  // Inside

  #request(kind: Intent["kind"], text: string, server: LinkServer | null, send: () => Promise<void>): void {
    if (this.#model.screen === "waiting" || this.#model.screen === "call") return;
    this.#endSeen = true;
    this.#news.forgetNames();
    const intent: Intent = { kind, text, server, at: this.clock.now(), begun: false };
    this.#set({ intent, lastJoin: text, problem: null, ended: null, statsOpen: false });
    this.clock.after(SETTLE_MS, () => {
      if (this.#model.intent !== intent) return;
      // Whatever the app says now is its answer: an end that looks like the last one counts.
      this.#view(this.#model.call, true);
    });
    send().catch((error: unknown) => {
      const { code, message } = asBackendError(error);
      if (this.#model.intent !== intent) return;
      this.#set({ intent: null, problem: { kind: "refused", code, message } });
    });
  }

  #view(reported: CallView, settled = false): void {
    const call = this.#withSwitches(reported);
    const before = this.#model.call;
    const now = this.clock.now();
    let { intent, problem, ended } = this.#model;
    const resting = call.state.name === "idle" || call.state.name === "ended";
    this.callClock.update(call.connectedForMs, now);
    this.#news.meet(call);
    if (intent && !intent.begun && !resting) {
      intent = { ...intent, begun: true };
    }
    const wasResting = before.state.name === "idle" || before.state.name === "ended";
    const answered = intent !== null && (intent.begun || settled || now - intent.at >= SETTLE_MS);
    if (wasResting && !resting) this.#news.newCall();
    const unasked = intent === null && !wasResting;
    if (call.state.name === "ended" && (answered || unasked)) {
      ended = endedCall(call, before, call.state.reason, this.#news.names);
      problem = intent && call.state.reason !== "hungUp" ? { kind: "ended", reason: call.state.reason, server: intent.server } : null;
      this.#endSeen = false;
      intent = null;
    } else if (call.state.name === "idle" && answered) {
      intent = null;
    }
    if (!resting) {
      problem = null;
      ended = null;
    }
    this.#set({ call, intent, problem, ended });
    this.#afterView(before, call);
  }

  #afterView(before: CallView, call: CallView): void {
    if (before.state.name !== call.state.name) {
      if (this.#slowTimer !== null) this.clock.clear(this.#slowTimer);
      this.#slowTimer = null;
      if (this.#model.slow) this.#set({ slow: false });
      const limit = call.state.name === "waiting" ? LONG_WAIT_MS : call.state.name === "connecting" ? SLOW_CONNECT_MS : 0;
      if (limit > 0) {
        this.#slowTimer = this.clock.after(limit, () => {
          this.#slowTimer = null;
          this.#set({ slow: true });
        });
      }
      this.#news.state(before, this.#model);
    }
    if (this.#model.screen !== "call") this.#leaveCallScreen();
    this.#news.view(before, this.#model);
  }

  /** What only a call has does not outlast it. */
  #leaveCallScreen(): void {
    this.stopTalking();
    const { statsOpen, fullScreen, dialog } = this.#model;
    if (fullScreen && this.#fullScreenAsked) this.#fullScreen(false);
    if (statsOpen || dialog === "invite" || dialog === "closing") {
      this.#set({ statsOpen: false, dialog: dialog === "invite" || dialog === "closing" ? null : dialog });
    }
  }

  #fullScreen(fullScreen: boolean): void {
    this.#fullScreenAsked = fullScreen;
    this.#set({ fullScreen });
    void this.#try(this.backend.setFullscreen(fullScreen));
  }

  #event(event: CallEvent): void {
    this.#news.event(event, this.#model.screen === "call");
    if (event.type !== "devicesChanged") return;
    this.#devicesTimer ??= this.clock.after(DEVICES_MS, () => {
      this.#devicesTimer = null;
      void this.refreshDevices();
    });
  }

  #notice(notice: Notice): void {
    this.#set({ notices: [...this.#model.notices.filter((other) => other.code !== notice.code), notice] });
    this.#news.notice(notice);
  }

  #level(frame: LevelFrame): void {
    this.levels.push(frame);
    const now = this.clock.now();
    const silent = this.#model.call.local.microphoneMuted;
    if (!silent && frame.local.rms > HEARD) {
      this.#heardUntil = now + HEARD_MS;
      // Levels come only while they change: silence has to be noticed without them.
      this.#heardTimer ??= this.clock.after(HEARD_MS, () => this.#hearingEnds());
    }
    const heard = this.#heardUntil > now;
    const speaking = this.#speaking.update(frame.participants, now);
    if (heard !== this.#model.heard || speaking !== this.#model.speaking) this.#set({ heard, speaking });
  }

  #hearingEnds(): void {
    const left = this.#heardUntil - this.clock.now();
    this.#heardTimer = left > 0 ? this.clock.after(left, () => this.#hearingEnds()) : null;
    if (left <= 0) this.#set({ heard: false });
  }

  /** Commands run beside each other in the app: the next one waits for the last, so that whoever
   * lets go at once is muted in the end. */
  #turnMicrophone(microphoneMuted: boolean): void {
    const send = () => this.backend.setMicrophoneMuted(microphoneMuted);
    const sent = this.#muting === null ? send() : this.#muting.then(send);
    const settled: Promise<void> = sent.then(
      () => undefined,
      () => {
        if (!microphoneMuted && this.#model.talking) this.#set({ talking: false });
      },
    );
    this.#muting = settled;
    void settled.then(() => {
      if (this.#muting === settled) this.#muting = null;
    });
    this.#turn({ microphoneMuted }, sent);
    this.#news.hint(this.#model);
  }

  /** Shows a switch as it was turned, at once, until the app's snapshots say the same. Snapshots
   * that were under way already must not turn it back for a moment. */
  #turn(change: Partial<LocalSwitches>, command: Promise<void>): void {
    this.#turned = { ...this.#turned, ...change };
    const turned = this.#turned;
    this.#set({ call: this.#withSwitches(this.#model.call) });
    const settle = () => {
      if (this.#turned !== turned) return;
      this.#turned = {};
      if (this.#reported) this.#view(this.#reported);
    };
    command.catch((error: unknown) => {
      this.#refused(error);
      settle();
    });
    this.clock.after(TURN_MS, settle);
  }

  #withSwitches(call: CallView): CallView {
    return { ...call, local: { ...call.local, ...this.#turned } };
  }

  async #try<T>(command: Promise<T>): Promise<T | undefined> {
    try {
      return await command;
    } catch (error) {
      this.#refused(error);
      return undefined;
    }
  }

  #refused(error: unknown): void {
    const { code, message } = asBackendError(error);
    this.notes.push({ key: `error-${code}`, tone: "error", title: this.words.refused(code), detail: message, sticky: true });
  }

  #set(change: Partial<Model>): void {
    const next = { ...this.#model, ...change };
    next.screen = screenOf({
      state: next.call.state,
      connectedForMs: next.ended ? next.ended.durationMs : next.call.connectedForMs,
      intent: next.intent,
      lobby: next.lobby !== null,
      endSeen: this.#endSeen,
      now: this.clock.now(),
    });
    if (next.screen === "call" || next.screen === "waiting") next.lobby = next.screen === "call" ? null : next.lobby;
    this.#model = next;
    for (const listener of this.#listeners) listener(next);
  }
}

function asBackendError(error: unknown): { code: string; message: string } {
  return error instanceof BackendError ? error : { code: "failed", message: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
