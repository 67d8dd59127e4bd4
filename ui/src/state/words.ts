// Sentences for what the app reports by code. The strings themselves are in messages/en.json.

import type { CodeProblem, DeviceKind, DeviceProblem, EndReason, MicrophoneHint, Notice, Reach, RecentCall } from "../bindings";
import { m } from "../paraglide/messages.js";
import type { CallProblem } from "./model";
import type { LinkServer } from "./invite";
import { dayKind, durationParts } from "./time";

export interface Sentence {
  title: string;
  detail: string;
}

export const words = {
  copied: () => m.copied_announcement(),
  undo: () => m.undo(),
  recentRemoved: () => m.recent_removed(),
  interrupted: () => m.banner_interrupted(),
  connected: () => m.state_connected(),
  joined: (name: string) => (name ? m.note_joined({ name }) : m.note_joined_unknown()),
  left: (name: string) => (name ? m.note_left({ name }) : m.note_left_unknown()),
  deviceProblem,
  deviceReplaced,
  deviceReturned,
  microphoneUnplugged: (name: string) => (name ? m.note_unplugged({ name }) : m.note_unplugged_unknown()),
  microphoneHint,
  unmute: () => m.unmute_tip(),
  chooseMicrophone: () => m.hint_choose(),
  wrongCode: (left: number): Sentence => ({ title: m.wrong_code(), detail: left === 1 ? m.wrong_code_one() : m.wrong_code_two() }),
  notVerified: (): Sentence => ({ title: m.someone_not_verified(), detail: m.someone_not_verified_detail() }),
  codeRetired: (): Sentence => ({ title: m.code_retired(), detail: m.code_retired_detail() }),
  codeRenewed: (): Sentence => ({ title: m.code_renewed(), detail: m.code_renewed_detail() }),
  newCode: () => m.new_code(),
  suppressNoise: () => m.hint_suppress(),
  endReason,
  notice,
  refused,
};

export type Words = typeof words;

/** What is wrong with a device and what to do, for every kind and problem. */
export function deviceProblem(kind: DeviceKind, problem: DeviceProblem): Sentence {
  switch (kind) {
    case "camera":
      return cameraProblem(problem);
    case "microphone":
      return microphoneProblem(problem);
    case "speaker":
      return speakerProblem(problem);
  }
}

function cameraProblem(problem: DeviceProblem): Sentence {
  switch (problem) {
    case "notFound":
      return { title: m.camera_not_found(), detail: m.camera_not_found_detail() };
    case "busy":
      return { title: m.camera_busy(), detail: m.camera_busy_detail() };
    case "denied":
      return { title: m.camera_denied(), detail: m.camera_denied_detail() };
    case "lost":
      return { title: m.camera_lost(), detail: m.camera_lost_detail() };
    case "unsupported":
      return { title: m.camera_unsupported(), detail: m.camera_unsupported_detail() };
    case "file":
      return { title: m.camera_file(), detail: m.camera_file_detail() };
    case "failed":
      return { title: m.camera_failed(), detail: m.camera_failed_detail() };
  }
}

function microphoneProblem(problem: DeviceProblem): Sentence {
  switch (problem) {
    case "notFound":
      return { title: m.microphone_not_found(), detail: m.microphone_not_found_detail() };
    case "busy":
      return { title: m.microphone_busy(), detail: m.microphone_busy_detail() };
    case "denied":
      return { title: m.microphone_denied(), detail: m.microphone_denied_detail() };
    case "lost":
      return { title: m.microphone_lost(), detail: m.microphone_lost_detail() };
    case "unsupported":
      return { title: m.microphone_unsupported(), detail: m.microphone_unsupported_detail() };
    case "file":
      return { title: m.microphone_file(), detail: m.microphone_file_detail() };
    case "failed":
      return { title: m.microphone_failed(), detail: m.microphone_failed_detail() };
  }
}

function speakerProblem(problem: DeviceProblem): Sentence {
  switch (problem) {
    case "notFound":
      return { title: m.speaker_not_found(), detail: m.speaker_not_found_detail() };
    case "busy":
      return { title: m.speaker_busy(), detail: m.speaker_busy_detail() };
    case "denied":
      return { title: m.speaker_denied(), detail: m.speaker_denied_detail() };
    case "lost":
      return { title: m.speaker_lost(), detail: m.speaker_lost_detail() };
    case "unsupported":
      return { title: m.speaker_unsupported(), detail: m.speaker_unsupported_detail() };
    case "file":
      return { title: m.speaker_file(), detail: m.speaker_file_detail() };
    case "failed":
      return { title: m.speaker_failed(), detail: m.speaker_failed_detail() };
  }
}

/** Another device has taken the place of `lost` and gives it back. */
export function deviceReplaced(kind: DeviceKind, lost: string, label: string, problem: DeviceProblem): Sentence {
  const device = lost || yourDevice(kind);
  return { title: missing(device, problem), detail: standIn(kind, label) };
}

function missing(device: string, problem: DeviceProblem): string {
  switch (problem) {
    case "lost":
      return m.replaced_lost({ device });
    case "notFound":
      return m.replaced_not_found({ device });
    case "busy":
      return m.replaced_busy({ device });
    case "denied":
      return m.replaced_denied({ device });
    default:
      return m.replaced_failed({ device });
  }
}

/** Which device is used until the missed one is back. */
export function standIn(kind: DeviceKind, label: string): string {
  switch (kind) {
    case "camera":
      return m.replaced_camera_detail({ label });
    case "microphone":
      return m.replaced_microphone_detail({ label });
    case "speaker":
      return m.replaced_speaker_detail({ label });
  }
}

function yourDevice(kind: DeviceKind): string {
  switch (kind) {
    case "camera":
      return m.your_camera();
    case "microphone":
      return m.your_microphone();
    case "speaker":
      return m.your_speaker();
  }
}

/** The device that was missed runs again. */
export function deviceReturned(kind: DeviceKind, label: string): Sentence {
  const title = m.returned({ device: label || yourDevice(kind) });
  switch (kind) {
    case "camera":
      return { title, detail: m.returned_camera_detail() };
    case "microphone":
      return { title, detail: m.returned_microphone_detail() };
    case "speaker":
      return { title, detail: m.returned_speaker_detail() };
  }
}

/** What is to be known about the microphone, and what to do. */
export function microphoneHint(hint: MicrophoneHint, { singleKeys, suppressed }: { singleKeys: boolean; suppressed: boolean }): Sentence {
  switch (hint) {
    case "speaking-while-muted":
      return { title: m.hint_muted(), detail: singleKeys ? m.hint_muted_detail() : "" };
    case "nothing-heard":
      return { title: m.hint_nothing(), detail: m.hint_nothing_detail() };
    case "very-noisy":
      return { title: m.hint_noisy(), detail: suppressed ? m.hint_noisy_detail() : m.hint_noisy_suppress_detail() };
  }
}

/** Few words for a row. */
export function deviceProblemShort(problem: DeviceProblem): string {
  switch (problem) {
    case "notFound":
      return m.short_not_found();
    case "busy":
      return m.short_busy();
    case "denied":
      return m.short_denied();
    case "lost":
      return m.short_lost();
    case "unsupported":
      return m.short_unsupported();
    case "file":
      return m.short_file();
    case "failed":
      return m.short_failed();
  }
}

/** Title of the screen after a call. */
export function endReason(reason: EndReason): string {
  switch (reason) {
    case "hungUp":
      return m.end_hung_up();
    case "everyoneLeft":
      return m.end_everyone_left();
    case "unknownRoom":
      return m.end_unknown_room();
    case "numberTaken":
      return m.end_number_taken();
    case "roomFull":
      return m.end_room_full();
    case "serverUnreachable":
      return m.end_server_unreachable();
    case "notAnAhoyServer":
      return m.end_not_an_ahoy_server();
    case "serverLost":
      return m.end_server_lost();
    case "serverRefused":
      return m.end_server_refused();
    case "connectionFailed":
      return m.end_connection_failed();
    case "wrongCode":
      return m.end_wrong_code();
    case "notVerified":
      return m.end_not_verified();
    case "codeRetired":
      return m.end_code_retired();
  }
}

/** What to do after such an end; empty where nothing is to be done. */
export function endAdvice(reason: EndReason): string {
  switch (reason) {
    case "hungUp":
    case "everyoneLeft":
      return "";
    case "unknownRoom":
      return m.end_unknown_room_advice();
    case "numberTaken":
      return m.end_number_taken_advice();
    case "roomFull":
      return m.end_room_full_advice();
    case "serverUnreachable":
      return m.end_server_unreachable_advice();
    case "notAnAhoyServer":
      return m.end_not_an_ahoy_server_advice();
    case "serverLost":
      return m.end_server_lost_advice();
    case "serverRefused":
      return m.end_server_refused_advice();
    case "connectionFailed":
      return m.end_connection_failed_advice();
    case "wrongCode":
      return m.end_wrong_code_advice();
    case "notVerified":
      return m.end_not_verified_advice();
    case "codeRetired":
      return m.end_code_retired_advice();
  }
}

/** A request for a call that came to nothing. */
export function callProblem(problem: CallProblem): Sentence {
  if (problem.kind === "refused") return { title: refused(problem.code), detail: problem.message };
  const { reason, server } = problem;
  return (server && linkServerProblem(reason, server)) ?? { title: endReason(reason), detail: endAdvice(reason) };
}

/** Where the server is not the one of the settings, they are not the place to look. */
function linkServerProblem(reason: EndReason, { name: server, kept }: LinkServer): Sentence | null {
  switch (reason) {
    case "serverUnreachable":
      return kept
        ? { title: m.end_kept_server_unreachable(), detail: m.end_kept_server_unreachable_advice({ server }) }
        : { title: m.end_link_server_unreachable(), detail: m.end_link_server_unreachable_advice({ server }) };
    case "notAnAhoyServer":
      return { title: endReason(reason), detail: kept ? m.end_kept_server_other_advice({ server }) : m.end_link_server_other_advice({ server }) };
    default:
      return null;
  }
}

export function codeProblem(problem: CodeProblem): string {
  const kind: string = problem.kind;
  switch (kind) {
    case "empty":
      return m.code_empty();
    case "numberMissing":
      return m.code_number_missing();
    case "wordsMissing":
      return m.code_words_missing();
    case "tooManyWords":
      return m.code_too_many_words();
    case "tooLong":
      return m.code_too_long();
    case "numberOutOfRange":
      return m.code_number_out_of_range();
    case "numberTwice":
      return m.code_number_twice();
    case "unexpectedCharacter":
      return m.code_unexpected_character({ character: problem.word ?? "" });
    case "badServer":
      return m.code_bad_server();
    case "foreignLink":
      return m.code_foreign_link();
    case "unknownWord":
      return m.code_unknown_word({ word: problem.word ?? "" });
    default:
      return m.code_other();
  }
}

/** Title for a command that was refused, by its code. */
export function refused(code: string): string {
  switch (code) {
    case "engineStopped":
      return m.refused_engine();
    case "badCode":
      return m.code_other();
    case "badSelection":
      return m.refused_selection();
    case "badConstraints":
      return m.refused_constraints();
    case "badServer":
      return m.refused_server();
    case "badIceServer":
      return m.refused_ice_server();
    case "badSettings":
      return m.refused_save();
    case "clipboardFailed":
      return m.refused_clipboard();
    default:
      return m.refused_other();
  }
}

export function notice({ code, file }: Notice): Sentence {
  switch (code) {
    case "settingsSetAside":
      return { title: m.notice_settings_set_aside(), detail: m.notice_settings_set_aside_detail({ file }) };
    case "settingsUnreadable":
      return { title: m.notice_settings_unreadable(), detail: m.notice_settings_unreadable_detail({ file }) };
    case "settingsNotSaved":
      return { title: m.notice_settings_not_saved(), detail: m.notice_settings_not_saved_detail({ file }) };
    case "recentCallsSetAside":
      return { title: m.notice_recents_set_aside(), detail: m.notice_recents_set_aside_detail({ file }) };
    case "recentCallsUnreadable":
      return { title: m.notice_recents_unreadable(), detail: m.notice_recents_unreadable_detail({ file }) };
    case "recentCallsNotSaved":
      return { title: m.notice_recents_not_saved(), detail: m.notice_recents_not_saved_detail({ file }) };
  }
}

/**
 * How far an invite reaches. `server` is the name of the one in its link, `insteadOf` that of the
 * configured one where it does not answer.
 */
export function reach(reach: Reach, server: string, insteadOf: string | null): string {
  if (insteadOf !== null) return m.reach_instead({ server: insteadOf });
  switch (reach) {
    case "thisComputer":
      return m.reach_this_computer();
    case "localNetwork":
      return m.reach_local_network();
    case "server":
      return m.reach_server({ server });
  }
}

/** `24 min`, `1 h 02 min`, `40 s`. */
export function duration(ms: number): string {
  const { hours, minutes, seconds } = durationParts(ms);
  if (hours > 0) return m.duration_hours({ hours, minutes: String(minutes).padStart(2, "0") });
  return minutes > 0 ? m.duration_minutes({ minutes }) : m.duration_seconds({ seconds });
}

/** `Yesterday`, `Tuesday`, `12 November`; for today the time of day. */
export function day(then: Date, now: Date, locale = "en-GB"): string {
  switch (dayKind(then, now)) {
    case "today":
      return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(then);
    case "yesterday":
      return m.yesterday();
    case "weekday":
      return new Intl.DateTimeFormat(locale, { weekday: "long" }).format(then);
    case "date":
      return new Intl.DateTimeFormat(locale, { day: "numeric", month: "long" }).format(then);
  }
}

/** `Jon`, `Adaeze and Jon`, `Adaeze, Ines and Kenji`; the code when nobody gave a name. */
export function people(call: Pick<RecentCall, "names" | "code">): string {
  const names = call.names.filter((name) => name !== "");
  return names.length === 0 ? m.recent_nameless() : new Intl.ListFormat("en-GB", { type: "conjunction" }).format(names);
}
