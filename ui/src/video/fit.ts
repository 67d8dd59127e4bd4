// Which part of a picture goes where in its tile.

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Fit {
  /** Part of the picture. */
  source: Rect;
  /** Part of the canvas. */
  target: Rect;
}

/** `whole`: all of the picture, with bars. Otherwise it fills the tile and is cut, faces staying:
 * of what has to go in height, less goes at the top. */
export function fit(picture: { width: number; height: number }, tile: { width: number; height: number }, whole: boolean): Fit {
  const scale = whole
    ? Math.min(tile.width / picture.width, tile.height / picture.height)
    : Math.max(tile.width / picture.width, tile.height / picture.height);
  if (whole) {
    const width = picture.width * scale;
    const height = picture.height * scale;
    return {
      source: { x: 0, y: 0, width: picture.width, height: picture.height },
      target: { x: (tile.width - width) / 2, y: (tile.height - height) / 2, width, height },
    };
  }
  const width = tile.width / scale;
  const height = tile.height / scale;
  return {
    source: { x: (picture.width - width) / 2, y: (picture.height - height) * 0.4, width, height },
    target: { x: 0, y: 0, width: tile.width, height: tile.height },
  };
}

/** Where all of a picture lies when `source` of it lies at `target`. */
export function outset(picture: { width: number; height: number }, source: Rect, target: Rect): Rect {
  const across = target.width / source.width;
  const down = target.height / source.height;
  return {
    x: target.x - source.x * across,
    y: target.y - source.y * down,
    width: picture.width * across,
    height: picture.height * down,
  };
}
