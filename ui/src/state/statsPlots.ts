// Which plots there are, with their words and units.

import { m } from "../paraglide/messages.js";
import { scaleTop, summary, type Point, type SeriesName } from "./statsSeries";

export type Unit = "ms" | "bitrate" | "percent" | "fps" | "lines";

export interface PlotLine {
  series: SeriesName;
  label: () => string;
}

export interface PlotSpec {
  name: string;
  label: () => string;
  /** The members it is made of, by their W3C names. */
  members: readonly string[];
  unit: Unit;
  /** The scale reaches at least to here. */
  floor: number;
  /** At most three, each with a look of its own. */
  lines: readonly PlotLine[];
}

export const PLOTS: readonly PlotSpec[] = [
  { name: "roundTrip", label: m.plot_roundTrip, members: ["currentRoundTripTime"], unit: "ms", floor: 100, lines: [{ series: "roundTrip", label: m.line_roundTrip }] },
  {
    name: "bitrate",
    label: m.plot_bitrate,
    members: ["bytesSent", "bytesReceived", "availableOutgoingBitrate"],
    unit: "bitrate",
    floor: 500_000,
    lines: [
      { series: "sent", label: m.line_sent },
      { series: "received", label: m.line_received },
      { series: "available", label: m.line_available },
    ],
  },
  {
    name: "loss",
    label: m.plot_loss,
    members: ["fractionLost", "packetsLost"],
    unit: "percent",
    floor: 0.05,
    lines: [
      { series: "lostThere", label: m.line_lostThere },
      { series: "lostHere", label: m.line_lostHere },
    ],
  },
  {
    name: "buffer",
    label: m.plot_buffer,
    members: ["jitterBufferDelay / jitterBufferEmittedCount"],
    unit: "ms",
    floor: 100,
    lines: [
      { series: "pictureDelay", label: m.line_pictureDelay },
      { series: "soundDelay", label: m.line_soundDelay },
    ],
  },
  {
    name: "frames",
    label: m.plot_frames,
    members: ["framesPerSecond"],
    unit: "fps",
    floor: 60,
    lines: [
      { series: "framesSent", label: m.line_sent },
      { series: "framesReceived", label: m.line_received },
    ],
  },
  {
    name: "size",
    label: m.plot_size,
    members: ["frameHeight"],
    unit: "lines",
    floor: 1200,
    lines: [
      { series: "linesSent", label: m.line_sent },
      { series: "linesReceived", label: m.line_received },
    ],
  },
  { name: "encode", label: m.plot_encode, members: ["totalEncodeTime / framesEncoded"], unit: "ms", floor: 20, lines: [{ series: "encode", label: m.line_encode }] },
];

/** A plot's unit and how its figures are written: one unit for all of them. */
export interface Scale {
  unit: string;
  write(value: number | null): string;
}

const UNKNOWN = "–";

/** For figures up to `highest`. */
export function scaleOf(unit: Unit, highest: number): Scale {
  switch (unit) {
    case "ms":
      return { unit: m.unit_ms(), write: written(1, (value) => (value < 10 ? 1 : 0)) };
    case "bitrate":
      return highest >= 1e6 ? { unit: m.unit_mbit(), write: written(1e-6, () => 1) } : { unit: m.unit_kbit(), write: written(1e-3, () => 0) };
    case "percent":
      return { unit: m.unit_percent(), write: written(100, () => 1) };
    case "fps":
      return { unit: m.unit_fps(), write: written(1, () => 0) };
    case "lines":
      return { unit: m.unit_lines(), write: written(1, () => 0) };
  }
}

function written(factor: number, digits: (value: number) => number): Scale["write"] {
  return (value) => (value === null ? UNKNOWN : (value * factor).toFixed(digits(value * factor)));
}

/** Everything that a plot shows of some points. */
export interface Plotted {
  /** The value at the upper edge. */
  top: number;
  /** The same with its unit. */
  topText: string;
  unit: string;
  /** Figures of now, in the order of the lines. */
  now: string;
  /** For a screen reader. */
  description: string;
  rows: readonly { label: string; now: string; lowest: string; average: string; highest: string }[];
}

export function plotted(spec: PlotSpec, points: readonly Point[]): Plotted {
  const lines = spec.lines.map(({ series, label }) => ({ label: label(), figures: summary(points, series) }));
  const highest = Math.max(0, ...lines.map(({ figures }) => figures?.highest ?? 0));
  const top = scaleTop(topOf(spec, points, highest), spec.floor);
  const scale = scaleOf(spec.unit, highest);
  const rows = lines.map(({ label, figures }) => ({
    label,
    now: scale.write(figures?.now ?? null),
    lowest: scale.write(figures?.lowest ?? null),
    average: scale.write(figures?.average ?? null),
    highest: scale.write(figures?.highest ?? null),
  }));
  const spoken = rows.map(({ label, now, lowest, highest: high }, i) =>
    lines[i]?.figures ? m.plot_line({ line: label, now, unit: scale.unit, low: lowest, high }) : m.plot_line_unknown({ line: label }),
  );
  const topScale = scaleOf(spec.unit, top);
  return {
    top,
    topText: `${Number(topScale.write(top))} ${topScale.unit}`,
    unit: scale.unit,
    // The estimate would make it unreadable; the table has it.
    now: rows.slice(0, 2).map(({ now }) => now).join(" / "),
    description: m.plot_label({ label: spec.label(), lines: spoken.join(" ") }),
    rows,
  };
}

/** An estimate far above what flows would press the rest to the ground: it leaves the picture. */
function topOf(spec: PlotSpec, points: readonly Point[], highest: number): number {
  if (spec.name !== "bitrate") return highest;
  const flowing = Math.max(spec.floor, summary(points, "sent")?.highest ?? 0, summary(points, "received")?.highest ?? 0);
  return Math.min(highest, 2.5 * flowing);
}
