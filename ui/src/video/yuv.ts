// I420 as WebGL draws it, or as RGBA for a 2D canvas. BT.601, limited range, as VP8 carries it
// (RFC 6386 section 9.2).

/** A decoded picture: three planes without padding. */
export interface I420 {
  width: number;
  height: number;
  y: Uint8Array;
  u: Uint8Array;
  v: Uint8Array;
}

/** Planes inside a message; `null` when the message is too short for its size. */
export function planesOf(width: number, height: number, bytes: Uint8Array): I420 | null {
  const chromaWidth = (width + 1) >> 1;
  const chromaHeight = (height + 1) >> 1;
  const luma = width * height;
  const chroma = chromaWidth * chromaHeight;
  if (width === 0 || height === 0 || bytes.byteLength < luma + 2 * chroma) return null;
  return {
    width,
    height,
    y: bytes.subarray(0, luma),
    u: bytes.subarray(luma, luma + chroma),
    v: bytes.subarray(luma + chroma, luma + 2 * chroma),
  };
}

/** Fills `out` (4 bytes per pixel) with the picture. */
export function toRgba(picture: I420, out: Uint8ClampedArray): void {
  const { width, height, y, u, v } = picture;
  const chromaWidth = (width + 1) >> 1;
  let to = 0;
  for (let row = 0; row < height; row++) {
    const chromaRow = (row >> 1) * chromaWidth;
    for (let column = 0; column < width; column++) {
      const luma = 1.164383 * ((y[row * width + column] ?? 16) - 16);
      const cb = (u[chromaRow + (column >> 1)] ?? 128) - 128;
      const cr = (v[chromaRow + (column >> 1)] ?? 128) - 128;
      out[to] = luma + 1.596027 * cr;
      out[to + 1] = luma - 0.391762 * cb - 0.812968 * cr;
      out[to + 2] = luma + 2.017232 * cb;
      out[to + 3] = 255;
      to += 4;
    }
  }
}
