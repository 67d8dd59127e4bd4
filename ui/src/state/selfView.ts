// Where the small self-view sits: one of four corners, moved by pointer or arrow keys.

import type { Corner, SelfViewSize } from "../bindings";

export interface Size {
  width: number;
  height: number;
}

/** Distance from the stage's edge, CSS pixels. */
export const MARGIN = 16;

const WIDTHS: Record<SelfViewSize, number> = { small: 168, medium: 232, large: 320 };

/** Its size in a stage: never more than a third of the width or height. Portrait in tall stages. */
export function selfViewSize(size: SelfViewSize, stage: Size): Size {
  const portrait = stage.height > stage.width * 1.2;
  const wanted = WIDTHS[size];
  if (portrait) {
    const height = Math.round(Math.min(wanted * 0.552, stage.height / 3));
    return { width: Math.round(height * 0.75), height };
  }
  const width = Math.round(Math.min(wanted, stage.width / 3.2, (stage.height / 3.2) * (16 / 9)));
  return { width, height: Math.round((width * 9) / 16) };
}

/** Top left point of the self-view in this corner. */
export function cornerPoint(corner: Corner, stage: Size, box: Size, margin = MARGIN): { x: number; y: number } {
  return {
    x: corner === "topLeft" || corner === "bottomLeft" ? margin : stage.width - box.width - margin,
    y: corner === "topLeft" || corner === "topRight" ? margin : stage.height - box.height - margin,
  };
}

/** The corner nearest to a self-view whose top left point is here. */
export function nearestCorner(x: number, y: number, stage: Size, box: Size): Corner {
  const right = x + box.width / 2 > stage.width / 2;
  const bottom = y + box.height / 2 > stage.height / 2;
  return bottom ? (right ? "bottomRight" : "bottomLeft") : right ? "topRight" : "topLeft";
}

/** Where an arrow key moves it; `null` for other keys. */
export function cornerByKey(corner: Corner, key: string): Corner | null {
  const top = corner === "topLeft" || corner === "topRight";
  const left = corner === "topLeft" || corner === "bottomLeft";
  switch (key) {
    case "ArrowLeft":
      return top ? "topLeft" : "bottomLeft";
    case "ArrowRight":
      return top ? "topRight" : "bottomRight";
    case "ArrowUp":
      return left ? "topLeft" : "topRight";
    case "ArrowDown":
      return left ? "bottomLeft" : "bottomRight";
    default:
      return null;
  }
}
