// Draws I420 with a shader: three textures, one per plane.

import type { Fit } from "./fit";
import type { I420 } from "./yuv";

const VERTEX = `#version 300 es
in vec2 place;
uniform vec4 source;
uniform vec4 target;
uniform float mirror;
out vec2 at;
void main() {
  vec2 t = vec2(mirror > 0.5 ? 1.0 - place.x : place.x, place.y);
  at = source.xy + t * source.zw;
  vec2 p = target.xy + place * target.zw;
  gl_Position = vec4(p.x * 2.0 - 1.0, 1.0 - p.y * 2.0, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec2 at;
uniform sampler2D planeY;
uniform sampler2D planeU;
uniform sampler2D planeV;
out vec4 colour;
void main() {
  float y = 1.164383 * (texture(planeY, at).r - 0.0627451);
  float u = texture(planeU, at).r - 0.5019608;
  float v = texture(planeV, at).r - 0.5019608;
  colour = vec4(y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u, 1.0);
}`;

/** A WebGL2 canvas that shows I420. Throws when the context or the shader cannot be made. */
export class YuvCanvas {
  readonly #gl: WebGL2RenderingContext;
  readonly #source: WebGLUniformLocation | null;
  readonly #target: WebGLUniformLocation | null;
  readonly #mirror: WebGLUniformLocation | null;
  #width = 0;
  #height = 0;

  constructor(canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("no WebGL2");
    this.#gl = gl;
    const program = link(gl);
    gl.useProgram(program);
    const corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, "place");
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 0, 0);
    this.#source = gl.getUniformLocation(program, "source");
    this.#target = gl.getUniformLocation(program, "target");
    this.#mirror = gl.getUniformLocation(program, "mirror");
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    ["planeY", "planeU", "planeV"].forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.LINEAR);
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
    });
  }

  draw(picture: I420, { source, target }: Fit, mirror: boolean): void {
    const gl = this.#gl;
    const { width, height } = gl.canvas;
    this.#upload(picture);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(
      this.#source,
      source.x / picture.width,
      source.y / picture.height,
      source.width / picture.width,
      source.height / picture.height,
    );
    gl.uniform4f(this.#target, target.x / width, target.y / height, target.width / width, target.height / height);
    gl.uniform1f(this.#mirror, mirror ? 1 : 0);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  #upload(picture: I420): void {
    const gl = this.#gl;
    const chromaWidth = (picture.width + 1) >> 1;
    const chromaHeight = (picture.height + 1) >> 1;
    const fresh = this.#width !== picture.width || this.#height !== picture.height;
    this.#width = picture.width;
    this.#height = picture.height;
    const planes = [
      [picture.y, picture.width, picture.height],
      [picture.u, chromaWidth, chromaHeight],
      [picture.v, chromaWidth, chromaHeight],
    ] as const;
    planes.forEach(([plane, width, height], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      if (fresh) gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, plane);
      else gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RED, gl.UNSIGNED_BYTE, plane);
    });
  }
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, text] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(type);
    if (!shader) throw new Error("no shader");
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "shader");
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "program");
  return program;
}
