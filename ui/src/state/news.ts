// What the person is told, seen as notes and heard from a screen reader: what has changed in the
// call, what devices do, hints about the microphone.

import type { CallEvent, CallView, Notice } from "../bindings";
import type { Announcer } from "./announcer";
import type { Clock } from "./clock";
import { HintRules, microphoneOf, type ToldHint } from "./hints";
import type { Model } from "./model";
import type { Notes } from "./notes";
import { QualityNews } from "./quality";
import type { Sentence, Words } from "./words";

/** What a note can offer to do. */
export interface Remedies {
  renewCode: () => void;
  unmute: () => void;
  suppressNoise: () => void;
  chooseMicrophone: () => void;
}

/** What hints depend on. */
type Situation = Pick<Model, "call" | "screen" | "talking" | "settings">;

export class News {
  #names = new Map<number, string>();
  #hints = new HintRules();
  #quality = new QualityNews();
  /** The hint that was told last, while it lasts. */
  #hint: ToldHint | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly notes: Notes,
    private readonly announcer: Announcer,
    private readonly words: Words,
    private readonly remedies: Remedies,
  ) {}

  /** Names of everybody who was seen in the call, those who have left included. */
  get names(): Iterable<string> {
    return this.#names.values();
  }

  /** Another call was asked for. */
  forgetNames(): void {
    this.#names.clear();
  }

  newCall(): void {
    this.#hints.newCall();
  }

  /** Remembers who is there. */
  meet({ participants }: CallView): void {
    for (const person of participants) this.#names.set(person.id, person.name);
  }

  /** The call has changed from `before` to what `now` has. */
  view(before: CallView, now: Situation): void {
    const { call, screen } = now;
    if (before.codeRetired !== call.codeRetired) this.#codeNote(call.codeRetired);
    this.#deviceNotes(before, call);
    this.#unpluggedNotes(before, call);
    for (const sentence of this.#quality.update(screen === "call" ? call.participants : [])) this.announcer.polite(sentence);
    this.hint(now);
  }

  /** The call is in another state. */
  state(before: CallView, { call, screen, ended }: Pick<Model, "call" | "screen" | "ended">): void {
    if (call.state.name === "ended" && ended) {
      if (screen === "ended") this.announcer.assertive(this.words.endReason(call.state.reason));
      this.notes.close("left");
    } else if (call.state.name === "reconnecting") {
      this.announcer.assertive(this.words.interrupted());
    } else if (call.state.name === "connected" && before.state.name !== "connected") {
      this.announcer.polite(this.words.connected());
    }
  }

  event(event: CallEvent, inCall: boolean): void {
    switch (event.type) {
      case "participantJoined":
        this.announcer.polite(this.words.joined(this.#names.get(event.id) ?? ""));
        break;
      case "participantLeft": {
        const name = event.name || (this.#names.get(event.id) ?? "");
        if (name) this.#names.set(event.id, name);
        this.notes.push({ key: "left", tone: "plain", title: this.words.left(name) });
        this.announcer.polite(this.words.left(name));
        break;
      }
      case "wrongCode":
        // The last one is told by what stays of it.
        if (event.left > 0) this.#say("wrongCode", this.words.wrongCode(event.left));
        break;
      case "notVerified":
        this.#say("notVerified", this.words.notVerified());
        break;
      case "codeRenewed":
        this.#say("codeRenewed", this.words.codeRenewed());
        break;
      case "deviceProblem": {
        const { title, detail } = this.words.deviceProblem(event.kind, event.problem);
        this.announcer.polite(title);
        this.notes.close(`moved-${event.kind}`);
        // Before a call the row and the picture say what does not work; what goes while one is
        // there is told.
        if (inCall || (event.problem === "lost" && event.kind !== "camera")) {
          this.notes.push({ key: `device-${event.kind}`, tone: "error", title, detail, sticky: inCall });
        }
        break;
      }
      case "deviceReplaced":
        this.notes.close(`device-${event.kind}`);
        this.#say(`moved-${event.kind}`, this.words.deviceReplaced(event.kind, event.lostLabel, event.label, event.problem));
        break;
      case "deviceReturned":
        this.notes.close(`device-${event.kind}`);
        this.#say(`moved-${event.kind}`, this.words.deviceReturned(event.kind, event.label));
        break;
      case "devicesChanged":
        break;
    }
  }

  notice(notice: Notice): void {
    this.announcer.polite(this.words.notice(notice).title);
  }

  /** Tells what is to be known about the microphone, as often as {@link HintRules} has it. */
  hint({ call, screen, talking, settings }: Situation): void {
    const { local } = call;
    const reported = talking || screen === "ended" ? null : local.microphoneHint;
    const input = { hint: reported, device: microphoneOf(local), muted: local.microphoneMuted, inCall: screen === "call" };
    const told = this.#hints.update(input, this.clock.now());
    const before = this.#hint;
    if (told === before) return;
    this.#hint = told;
    if (told === null) {
      // Between two sentences it may be read to the end; unmuted, it is no longer so.
      if (before?.hint === "speaking-while-muted" && local.microphoneMuted) this.notes.release("hint");
      else this.notes.close("hint");
      return;
    }
    const { hint } = told;
    const singleKeys = settings.singleKeyShortcuts;
    const suppressed = settings.processing.noiseSuppression || settings.processing.originalSound;
    const { title, detail } = this.words.microphoneHint(hint, { singleKeys, suppressed });
    const muted = hint === "speaking-while-muted";
    this.notes.push({
      key: "hint",
      tone: muted ? "muted" : "plain",
      title,
      detail,
      sticky: true,
      urgent: muted,
      action: muted
        ? { label: this.words.unmute(), key: singleKeys ? "M" : undefined, run: () => this.remedies.unmute() }
        : hint === "very-noisy" && !suppressed
          ? { label: this.words.suppressNoise(), run: () => this.#suppressNoise() }
          : { label: this.words.chooseMicrophone(), run: () => this.remedies.chooseMicrophone() },
    });
    this.announcer.polite(detail ? `${title}. ${detail}` : title);
  }

  /** Push-to-talk was used. */
  talked(): void {
    this.#hints.talked(this.clock.now());
  }

  /** A note was closed by hand. */
  closed(key: string): void {
    if (key === "hint") this.#hints.closed();
    this.notes.close(key);
  }

  /** Stays until there are new words. */
  #codeNote(retired: boolean): void {
    if (!retired) {
      this.notes.close("codeRetired");
      return;
    }
    const { title, detail } = this.words.codeRetired();
    this.notes.push({
      key: "codeRetired",
      tone: "error",
      title,
      detail,
      sticky: true,
      urgent: true,
      action: { label: this.words.newCode(), run: () => this.remedies.renewCode() },
    });
    this.announcer.polite(`${title}. ${detail}`);
  }

  /** A note about a device goes when the device runs. */
  #deviceNotes(before: CallView, call: CallView): void {
    for (const kind of ["camera", "microphone", "speaker"] as const) {
      if (before.local[kind].problem !== null && call.local[kind].problem === null) this.notes.close(`device-${kind}`);
    }
  }

  /** Others whose microphone is gone; seen as it happens, not of those who come without one. */
  #unpluggedNotes(before: CallView, call: CallView): void {
    for (const { id, name, microphoneUnplugged: was } of before.participants) {
      const now = call.participants.find((other) => other.id === id)?.microphoneUnplugged ?? false;
      if (now && !was) this.#say(`unplugged-${id}`, { title: this.words.microphoneUnplugged(this.#names.get(id) ?? name), detail: "" });
      if (was && !now) this.notes.close(`unplugged-${id}`);
    }
  }

  #suppressNoise(): void {
    this.remedies.suppressNoise();
    this.notes.close("hint");
  }

  /** A note that goes by itself, heard as well as seen. */
  #say(key: string, { title, detail }: Sentence): void {
    // News come before advice that lasts.
    this.notes.push({ key, tone: "plain", title, detail, urgent: this.notes.shown?.key === "hint" });
    this.announcer.polite(detail ? `${title}. ${detail}` : title);
  }
}
