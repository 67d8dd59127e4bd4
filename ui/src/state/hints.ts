// Which hint about the microphone is shown. The app says what is so; here is decided how often it is
// said: whoever has closed a hint, or knows, is left alone.

import type { LocalView, MicrophoneHint } from "../bindings";

/** "You are muted" comes again no sooner than this. */
export const MUTED_AGAIN_MS = 60_000;

export interface HintInput {
  hint: MicrophoneHint | null;
  /** Which microphone, as {@link microphoneOf} names it. */
  device: string;
  muted: boolean;
  inCall: boolean;
}

/** A hint that is to be shown. One object for as long as it lasts. */
export interface ToldHint {
  readonly hint: MicrophoneHint;
  readonly device: string;
}

export class HintRules {
  /** Hint and device that this call has heard of. */
  #told = new Set<string>();
  #shown: ToldHint | null = null;
  #mutedNotBefore = -Infinity;
  /** Closed by hand: it stays closed until the microphone was open once. */
  #mutedClosed = false;

  /** The hint to be shown now; the same one as before while it lasts. */
  update({ hint, device, muted, inCall }: HintInput, now: number): ToldHint | null {
    if (!muted) this.#mutedClosed = false;
    const wanted = hint !== null && applies(hint, muted, inCall) ? hint : null;
    if (wanted === null) {
      this.#shown = null;
    } else if (this.#shown?.hint !== wanted || this.#shown.device !== device) {
      this.#shown = this.#may(wanted, device, now) ? { hint: wanted, device } : null;
      if (this.#shown) this.#tell(wanted, device, now);
    }
    return this.#shown;
  }

  /** Push-to-talk was used: the person knows that the microphone is muted. */
  talked(now: number): void {
    this.#mutedNotBefore = now + MUTED_AGAIN_MS;
    this.#shown = null;
  }

  /** The person has closed what is shown. */
  closed(): void {
    if (this.#shown?.hint === "speaking-while-muted") this.#mutedClosed = true;
  }

  newCall(): void {
    this.#told.clear();
    this.#mutedNotBefore = -Infinity;
    this.#mutedClosed = false;
    this.#shown = null;
  }

  #may(hint: MicrophoneHint, device: string, now: number): boolean {
    if (hint === "speaking-while-muted") return !this.#mutedClosed && now >= this.#mutedNotBefore;
    return !this.#told.has(`${hint} ${device}`);
  }

  #tell(hint: MicrophoneHint, device: string, now: number): void {
    if (hint === "speaking-while-muted") this.#mutedNotBefore = now + MUTED_AGAIN_MS;
    else this.#told.add(`${hint} ${device}`);
  }
}

/** What is known of our own side may be newer than the hint. */
function applies(hint: MicrophoneHint, muted: boolean, inCall: boolean): boolean {
  return hint === "speaking-while-muted" ? muted && inCall : !muted;
}

/** Tells one microphone from another. */
export function microphoneOf({ microphone }: Pick<LocalView, "microphone">): string {
  return `${microphone.selection} ${microphone.label ?? ""}`;
}
