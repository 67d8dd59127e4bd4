// What the code field knows about its text. The app checks codes and completes words; this says
// when a finding is worth showing: not about a word that is still being typed.

import type { Backend } from "../backend";
import type { CodeCheck, CodeProblem } from "../bindings";

/** Letters from which a single completion is taken over when a separator follows. */
const COMPLETE_FROM = 3;

export interface CodeEntry {
  text: string;
  /** Last answer, for exactly this text; `null` while it is on its way. */
  check: CodeCheck | null;
  /** What may be shown now. */
  problem: CodeProblem | null;
  /** Letters that would complete the word at the end, in grey behind the caret. */
  ghost: string;
  /** A whole code, ready to join. */
  ready: boolean;
  /** The text is an invite link. */
  isLink: boolean;
}

export const EMPTY_ENTRY: CodeEntry = { text: "", check: null, problem: null, ghost: "", ready: false, isLink: false };

type Checker = Pick<Backend, "checkCode" | "completeWord">;

export class CodeField {
  readonly #backend: Checker;
  readonly #changed: (entry: CodeEntry) => void;
  #entry: CodeEntry = EMPTY_ENTRY;
  #turn = 0;

  constructor(backend: Checker, changed: (entry: CodeEntry) => void) {
    this.#backend = backend;
    this.#changed = changed;
  }

  get entry(): CodeEntry {
    return this.#entry;
  }

  /** New text in the field. `atEnd`: the caret is behind the last letter. */
  async type(text: string, atEnd = true): Promise<void> {
    const turn = ++this.#turn;
    const isLink = looksLikeLink(text);
    this.#set({ ...EMPTY_ENTRY, text, isLink, ghost: keptGhost(this.#entry, text) });
    if (text.trim() === "") return;

    const completed = isLink ? null : await this.#completeBeforeSeparator(text);
    if (turn !== this.#turn) return;
    if (completed !== null) return this.type(completed);

    const word = isLink || !atEnd ? "" : lastWord(text);
    const [check, words] = await Promise.all([
      this.#backend.checkCode(text),
      word ? this.#backend.completeWord(word) : Promise.resolve<string[]>([]),
    ]);
    if (turn !== this.#turn) return;
    const ghost = words[0] && word.length >= 2 ? words[0].slice(word.length) : "";
    this.#set({
      text,
      check,
      isLink,
      ready: check.ok,
      ghost,
      problem: check.ok ? null : worthShowing(check.problem, text, word, words),
    });
  }

  /** Takes the grey letters. Returns the new text, `null` when there are none. */
  acceptGhost(): string | null {
    if (!this.#entry.ghost) return null;
    const text = this.#entry.text + this.#entry.ghost;
    void this.type(text);
    return text;
  }

  /** Replaces the wrong word by the nearest one. */
  useNearest(): string | null {
    const { problem, text } = this.#entry;
    if (!problem?.word || !problem.nearest) return null;
    const next = replaceWord(text, problem.word, problem.nearest);
    void this.type(next);
    return next;
  }

  /** The text to join with, once everything that can be completed is; `null`, and the reason is
   * shown, when it is no code. */
  async submit(): Promise<string | null> {
    const turn = ++this.#turn;
    let text = this.#entry.text;
    let check = await this.#backend.checkCode(text);
    if (!check.ok && check.problem?.word) {
      const words = await this.#backend.completeWord(check.problem.word.toLowerCase());
      const only = words.length === 1 ? words[0] : undefined;
      if (only) {
        text = replaceWord(text, check.problem.word, only);
        check = await this.#backend.checkCode(text);
      }
    }
    if (turn !== this.#turn) return null;
    const problem = check.ok ? null : (check.problem);
    this.#set({ text, check, isLink: looksLikeLink(text), ready: check.ok, ghost: "", problem });
    return check.ok ? text : null;
  }

  clear(): void {
    this.#turn++;
    this.#set(EMPTY_ENTRY);
  }

  /** `4821 amb ` becomes `4821 amber `: a separator after a beginning that only one word has. */
  async #completeBeforeSeparator(text: string): Promise<string | null> {
    if (text.length <= this.#before.length || !/[\s-]$/.test(text)) {
      this.#before = text;
      return null;
    }
    this.#before = text;
    const word = lastWord(text.slice(0, -1));
    if (word.length < COMPLETE_FROM) return null;
    const words = await this.#backend.completeWord(word);
    const only = words.length === 1 ? words[0] : undefined;
    if (!only || only === word) return null;
    this.#before = text.slice(0, -1 - word.length) + only + text.slice(-1);
    return this.#before;
  }

  /** Text of the last keystroke: deleting must not bring completions back. */
  #before = "";

  #set(entry: CodeEntry): void {
    this.#entry = entry;
    this.#changed(entry);
  }
}

/** Whether this is a link rather than a code typed by hand. */
export function looksLikeLink(text: string): boolean {
  return text.includes("://");
}

/** Where a word stands in the text, for underlining; `null` when it is not there as a whole word. */
export function wordRange(text: string, word: string): { start: number; end: number } | null {
  const letters = /[\p{L}\p{N}]+/gu;
  for (const match of text.matchAll(letters)) {
    if (match[0].toLowerCase() === word.toLowerCase()) return { start: match.index, end: match.index + match[0].length };
  }
  return null;
}

function replaceWord(text: string, word: string, by: string): string {
  const range = wordRange(text, word);
  return range ? text.slice(0, range.start) + by + text.slice(range.end) : text;
}

/** The letters at the very end, in lower case. */
function lastWord(text: string): string {
  return /\p{L}+$/u.exec(text)?.[0].toLowerCase() ?? "";
}

/** A part of the code that is missing is no mistake while the text grows. */
function worthShowing(problem: CodeProblem | null, text: string, word: string, words: readonly string[]): CodeProblem | null {
  if (!problem) return null;
  if (problem.kind === "empty" || problem.kind === "wordsMissing") return null;
  // The number comes first: its absence is a mistake once a word is whole.
  if (problem.kind === "numberMissing") return word === "" && text.length > 1 ? problem : null;
  const stillTyping = problem.word !== null && problem.word.toLowerCase() === word && words.length > 0;
  return stillTyping ? null : problem;
}

/** The grey letters stay in place while the typed ones agree with them: no flicker. */
function keptGhost(before: CodeEntry, text: string): string {
  const full = before.text + before.ghost;
  return before.ghost && text.length > before.text.length && full.toLowerCase().startsWith(text.toLowerCase())
    ? full.slice(text.length)
    : "";
}
