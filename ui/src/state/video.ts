import type { VideoConstraints } from "../bindings";

/** Choices of the picture menu, by height. */
export const PICTURE_SIZES = [
  { label: "1080p", width: 1920, height: 1080 },
  { label: "720p", width: 1280, height: 720 },
  { label: "540p", width: 960, height: 540 },
  { label: "360p", width: 640, height: 360 },
  { label: "180p", width: 320, height: 180 },
] as const;

/** Frames per second to choose from. */
export const FRAME_RATES = [30, 24, 20, 15, 10, 7] as const;

/** `720p` for a listed size, otherwise `800 × 600`. */
export function sizeLabel(constraints: VideoConstraints): string {
  const { width, height } = constraints.resolution;
  const known = PICTURE_SIZES.find((size) => size.width === width && size.height === height);
  return known?.label ?? `${width} × ${height}`;
}

/** The same with a listed size; what is not listed changes nothing. */
export function withSize(constraints: VideoConstraints, label: string): VideoConstraints {
  const size = PICTURE_SIZES.find((one) => one.label === label);
  return size ? { ...constraints, resolution: { width: size.width, height: size.height } } : constraints;
}

/** `1280x720@30` as people read it: size and rate, `null` when it is something else. */
export function parseFormat(format: string): { width: number; height: number; rate: number } | null {
  const match = /^(\d+)x(\d+)@(\d+)$/.exec(format);
  return match ? { width: Number(match[1]), height: Number(match[2]), rate: Number(match[3]) } : null;
}
