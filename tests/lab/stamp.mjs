// The frame stamp: a frame's number in one row of 32 cells across the full width, at the top.
// 24 bits of number, most significant first, then CRC-8 (polynomial 0x07, initial 0) over the
// three bytes; luma 235 is 1, 16 is 0. It survives scaling, compression and a screen.

/** Cells in the row. */
export const CELLS = 32;
const ONE = 235;
const ZERO = 16;
const THRESHOLD = 126;

function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}

/** The 32 bits of a stamp, most significant first. */
export function stampBits(number) {
  const bytes = [(number >> 16) & 0xff, (number >> 8) & 0xff, number & 0xff];
  return [...bytes, crc8(bytes)].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (byte >> bit) & 1));
}

/** Draws the stamp into a luma plane of `width` columns. */
export function writeStamp(luma, width, number) {
  const cell = Math.floor(width / CELLS);
  stampBits(number).forEach((bit, index) => {
    for (let row = 0; row < cell; row += 1) {
      const from = row * width + index * cell;
      luma.fill(bit ? ONE : ZERO, from, from + cell);
    }
  });
}

/**
 * Reads a stamp through `lumaAt(x, y)`, with the picture's left, top and width (fractions are
 * fine). Returns the number, or `undefined` when the CRC does not match.
 */
export function readStampAt(lumaAt, left, top, width) {
  const cell = width / CELLS;
  let bits = 0;
  for (let index = 0; index < CELLS; index += 1) {
    let sum = 0;
    for (const dy of [-0.2, 0, 0.2]) {
      for (const dx of [-0.2, 0, 0.2]) {
        sum += lumaAt(Math.floor(left + (index + 0.5 + dx) * cell), Math.floor(top + (0.5 + dy) * cell));
      }
    }
    bits = bits * 2 + (sum / 9 > THRESHOLD ? 1 : 0);
  }
  const number = Math.floor(bits / 256);
  const bytes = [(number >> 16) & 0xff, (number >> 8) & 0xff, number & 0xff];
  return crc8(bytes) === bits % 256 ? number : undefined;
}

/** Reads the stamp of a luma plane. */
export function readStamp(luma, width) {
  return readStampAt((x, y) => luma[y * width + x], 0, 0, width);
}

/**
 * Reads the stamp of a picture inside an RGB screenshot (`{ width, height, data }`, 3 bytes a
 * pixel). `box` is the picture's place `{ x, y, width }` in pixels of the screenshot; `mirrored`
 * for a self-view that is shown as in a mirror.
 */
export function readStampFromScreen(screen, box, mirrored = false) {
  const lumaAt = (x, y) => {
    const column = Math.min(screen.width - 1, Math.max(0, mirrored ? Math.floor(2 * box.x + box.width - 1 - x) : x));
    const at = (Math.min(screen.height - 1, Math.max(0, y)) * screen.width + column) * 3;
    return 0.299 * screen.data[at] + 0.587 * screen.data[at + 1] + 0.114 * screen.data[at + 2];
  };
  return readStampAt(lumaAt, box.x, box.y, box.width);
}
