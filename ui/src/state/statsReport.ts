// The statistics as text to pass on: flat objects with type, kind and timestamp, as `getStats()` of
// webrtc-pc returns them. Names and codes stay out of it.

import type { ParticipantView, StatsReport } from "../bindings";
import type { Members } from "./stats";

export interface ReportContext {
  app: string;
  state: string;
  signaling: string;
  connectedForMs: number | null;
  shownBy: string;
  participants: readonly ParticipantView[];
}

/** The objects of a report (webrtc-stats `RTCStats`), with the participant each is about. */
export function rtcStats(report: StatsReport): Record<string, unknown>[] {
  return report.participants.flatMap(({ id, ...objects }) =>
    Object.entries(objects as Record<string, Members | null>).flatMap(([key, members]) => {
      if (typeof members !== "object" || members === null) return [];
      const [type = key, kind] = key === "pair" ? ["candidate-pair"] : key.split(":");
      const known = Object.entries(members).filter(([, value]) => value !== null && value !== undefined);
      return [{ id: `${id}:${key}`, type, timestamp: report.timestamp, participant: id, ...(kind === undefined ? {} : { kind }), ...Object.fromEntries(known) }];
    }),
  );
}

export function reportText(report: StatsReport | null, { participants, ...context }: ReportContext): string {
  return JSON.stringify(
    {
      timestamp: report?.timestamp ?? null,
      ...context,
      participants: participants.map(({ id, states, quality, cameraOn, microphoneMuted }) => ({ id, states, quality, cameraOn, microphoneMuted })),
      stats: report === null ? [] : rtcStats(report),
    },
    null,
    2,
  );
}
