// Moving pictures for browser tests and design work: drawn here, encoded as VP8 by the browser, so
// that the window decodes and shows them the way it does the app's.

export interface Scene {
  wall: readonly [string, string];
  skin: string;
  hair: string;
  shirt: string;
}

export const SCENES: readonly Scene[] = [
  { wall: ["#f2dcb6", "#dcaf80"], skin: "#c98f66", hair: "#2b1c15", shirt: "#d39a2d" },
  { wall: ["#b9d3cf", "#75a3a1"], skin: "#eec39c", hair: "#8a4a20", shirt: "#2b6672" },
  { wall: ["#e6d6de", "#b899ac"], skin: "#eebf98", hair: "#c8cac5", shirt: "#575184" },
  { wall: ["#cdd6c2", "#8ca788"], skin: "#7a4a2f", hair: "#17100d", shirt: "#cc5745" },
  { wall: ["#35505e", "#1d303b"], skin: "#e0b184", hair: "#15181c", shirt: "#e6e2d8" },
];

type Context = OffscreenCanvasRenderingContext2D;

/** One picture of a scene at `t` seconds: somebody at a desk who moves a little. */
export function paint(context: Context, scene: Scene, width: number, height: number, t: number): void {
  const wall = context.createLinearGradient(0, 0, 0, height);
  wall.addColorStop(0, scene.wall[0]);
  wall.addColorStop(1, scene.wall[1]);
  context.fillStyle = wall;
  context.fillRect(0, 0, width, height);
  context.fillStyle = "rgb(255 255 255 / 0.35)";
  context.fillRect(width * 0.7, height * 0.12, width * 0.2, height * 0.38);
  const unit = height / 100;
  const x = width / 2 + Math.sin(t * 0.9) * 1.2 * unit;
  const y = height * 0.46 + Math.sin(t * 1.7) * 0.8 * unit;
  ellipse(context, scene.shirt, width / 2, height * 1.06, 44 * unit, 32 * unit);
  ellipse(context, scene.hair, x, y - 5 * unit, 21 * unit, 25 * unit);
  context.fillStyle = scene.skin;
  context.fillRect(x - 7 * unit, y + 12 * unit, 14 * unit, 18 * unit);
  ellipse(context, scene.skin, x, y, 17 * unit, 22 * unit);
  ellipse(context, scene.hair, x, y - 19 * unit, 18 * unit, 9 * unit);
  const blink = t % 3.1 < 0.12 ? 0.3 : 2;
  for (const side of [-1, 1]) ellipse(context, "#1a1412", x + side * 6.5 * unit, y - 2 * unit, 1.5 * unit, blink * unit);
  ellipse(context, "#6b2420", x, y + 11 * unit, 4.5 * unit, (1.2 + Math.abs(Math.sin(t * 5)) * 1.6) * unit);
}

function ellipse(context: Context, colour: string, x: number, y: number, rx: number, ry: number): void {
  context.fillStyle = colour;
  context.beginPath();
  context.ellipse(x, y, rx, ry, 0, 0, Math.PI * 2);
  context.fill();
}

const WIDTH = 640;
const HEIGHT = 360;
/** Frames per second; few are enough where only the look counts. */
export const RATES = { moving: 12, still: 4 };

/** Sends encoded frames with the app's header until it is ended. */
export class SceneStream {
  #encoder: VideoEncoder;
  #canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  #timer: ReturnType<typeof setInterval>;
  #number = 0;
  #seq = 0;
  #keyWanted = true;
  /** Sequence numbers that are left out, as an overloaded app would. */
  skip = 0;

  constructor(scene: Scene, rate: number, frame: (bytes: Uint8Array<ArrayBuffer>) => void) {
    this.#encoder = new VideoEncoder({
      output: (chunk) => {
        const bytes = new Uint8Array(24 + chunk.byteLength);
        const view = new DataView(bytes.buffer);
        bytes[0] = 1;
        bytes[1] = chunk.type === "key" ? 1 : 0;
        view.setUint16(2, WIDTH, true);
        view.setUint16(4, HEIGHT, true);
        view.setUint32(8, this.#seq++ >>> 0, true);
        view.setUint32(12, Math.round(chunk.timestamp * 0.09) >>> 0, true);
        view.setBigUint64(16, BigInt(chunk.timestamp), true);
        chunk.copyTo(bytes.subarray(24));
        if (this.skip > 0) this.skip--;
        else frame(bytes);
      },
      error: (error) => console.error("scene encoder", error),
    });
    this.#encoder.configure({ codec: "vp8", width: WIDTH, height: HEIGHT, bitrate: 900_000, framerate: rate, latencyMode: "realtime" });
    const context = this.#canvas.getContext("2d");
    if (!context) throw new Error("no 2D context");
    const draw = () => {
      if (this.#encoder.encodeQueueSize > 2) return;
      const t = this.#number++ / rate;
      paint(context, scene, WIDTH, HEIGHT, t);
      const picture = new VideoFrame(this.#canvas, { timestamp: Math.round(t * 1e6) });
      this.#encoder.encode(picture, { keyFrame: this.#keyWanted });
      this.#keyWanted = false;
      picture.close();
    };
    draw();
    this.#timer = setInterval(draw, 1000 / rate);
  }

  requestKeyFrame(): void {
    this.#keyWanted = true;
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#encoder.state !== "closed") this.#encoder.close();
  }
}
