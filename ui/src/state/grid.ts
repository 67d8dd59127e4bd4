// How pictures share the stage: the number of rows whose tiles are largest, with tile shapes
// between 4:3 and 16:9, the last row centred.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const WIDEST = 16 / 9;
const TALLEST = 4 / 3;

/** Boxes of `count` tiles in a stage of this size, CSS pixels. One tile takes the whole stage. */
export function gridBoxes(count: number, width: number, height: number, gap: number): Box[] {
  if (count <= 0 || width <= 0 || height <= 0) return [];
  if (count === 1) return [{ x: 0, y: 0, width, height }];
  const best = bestRows(count, width, height, gap);
  return place(count, best, width, height, gap);
}

function columnsFor(count: number, rows: number): number {
  return Math.ceil(count / rows);
}

function tileSize(columns: number, rows: number, width: number, height: number, gap: number): [number, number] {
  const cellWidth = Math.max(1, (width - gap * (columns - 1)) / columns);
  const cellHeight = Math.max(1, (height - gap * (rows - 1)) / rows);
  const shape = cellWidth / cellHeight;
  if (shape > WIDEST) return [cellHeight * WIDEST, cellHeight];
  if (shape < TALLEST) return [cellWidth, cellWidth / TALLEST];
  return [cellWidth, cellHeight];
}

function bestRows(count: number, width: number, height: number, gap: number): number {
  let best = 1;
  let bestArea = 0;
  for (let rows = 1; rows <= count; rows++) {
    const columns = columnsFor(count, rows);
    if (columnsFor(count, rows) * (rows - 1) >= count) continue; // an empty row
    const [w, h] = tileSize(columns, rows, width, height, gap);
    if (w * h > bestArea + 0.5) {
      best = rows;
      bestArea = w * h;
    }
  }
  return best;
}

function place(count: number, rows: number, width: number, height: number, gap: number): Box[] {
  const columns = columnsFor(count, rows);
  const [w, h] = tileSize(columns, rows, width, height, gap);
  const top = (height - rows * h - (rows - 1) * gap) / 2;
  const boxes: Box[] = [];
  for (let i = 0; i < count; i++) {
    const row = Math.floor(i / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (width - inRow * w - (inRow - 1) * gap) / 2;
    boxes.push({ x: left + (i - row * columns) * (w + gap), y: top + row * (h + gap), width: w, height: h });
  }
  return boxes;
}
