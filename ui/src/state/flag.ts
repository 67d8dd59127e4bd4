// The room flag: two colours and a shape out of the code's hash. For recognition only; it says
// nothing about who is in the room.

export const FLAG_SHAPES = ["diagonal", "cross", "quarters", "stripe", "disc", "saltire"] as const;
export type FlagShape = (typeof FLAG_SHAPES)[number];

/** Ground and figure; the pairs keep at least 3:1 between the two. */
export const FLAG_COLOURS = [
  ["#FFBE3D", "#156C82"],
  ["#C9352B", "#F6F4EA"],
  ["#177A4E", "#FFC24D"],
  ["#F6F4EA", "#156C82"],
  ["#14221D", "#FFBE3D"],
  ["#1D4F91", "#F6F4EA"],
  ["#F6F4EA", "#C9352B"],
  ["#6A3D8A", "#FFD98A"],
] as const;

export interface Flag {
  shape: FlagShape;
  ground: string;
  figure: string;
}

/** The same flag on every computer: FNV-1a over the code in lower case. */
export function flagOf(code: string): Flag {
  let hash = 0x811c9dc5;
  for (const char of code.toLowerCase()) {
    hash ^= char.codePointAt(0) ?? 0;
    hash = Math.imul(hash, 0x01000193) >>> 0;
  }
  hash = (hash ^ (hash >>> 15)) >>> 0;
  const colours = FLAG_COLOURS[(hash >>> 8) % FLAG_COLOURS.length] ?? FLAG_COLOURS[0];
  return { shape: FLAG_SHAPES[hash % FLAG_SHAPES.length] ?? "disc", ground: colours[0], figure: colours[1] };
}
