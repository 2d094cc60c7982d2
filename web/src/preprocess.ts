// docs/explanation/preprocessing.md, step by step; tests/golden/ says whether it is byte for byte.

import type { PreprocessSpec, Resize } from "./card.js";
import { type Pixels, pixelsOf } from "./pixels.js";

const WEIGHT_SUM = 256;

/** Which source positions one target position reads: from `first` on, with weights of sum 256. */
export interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/** For each of `target` positions what it reads of an axis of `source` pixels. */
export function filterTaps(source: number, target: number, resize: Resize): Taps[] {
  const half = 2 * (resize === "antialias" ? Math.max(source, target) : target);
  const before = (place: number) => Math.floor((place - target) / (2 * target));
  const inside = (position: number) => Math.min(Math.max(position, 0), source - 1);
  return Array.from({ length: target }, (_, index) => {
    const centre = (2 * index + 1) * source;
    const first = inside(before(centre - half) + 1);
    const last = inside(before(centre + half));
    const triangle = Array.from({ length: last - first + 1 }, (_, step) =>
      Math.max(0, half - Math.abs((2 * (first + step) + 1) * target - centre)),
    );
    const total = triangle.reduce((sum, weight) => sum + weight, 0);
    let [sum, given] = [0, 0];
    const weights = triangle.map((weight) => {
      sum += weight;
      const running = Math.floor((2 * WEIGHT_SUM * sum + total) / (2 * total));
      const own = running - given;
      given = running;
      return own;
    });
    return { first, weights };
  });
}

/** Resizes an image: first columns to `height` rows, then rows to `width`, rounding after each. */
export function resized(pixels: Pixels, height: number, width: number, method: Resize): Pixels {
  const tall = pixels.height === height ? pixels : ofHeight(pixels, height, method);
  return tall.width === width ? tall : ofWidth(tall, width, method);
}

function ofHeight({ height: from, width, rgb }: Pixels, height: number, method: Resize): Pixels {
  const rowBytes = width * 3;
  const out = new Uint8Array(height * rowBytes);
  const sums = new Int32Array(rowBytes);
  filterTaps(from, height, method).forEach(({ first, weights }, row) => {
    sums.fill(WEIGHT_SUM / 2);
    for (let tap = 0; tap < weights.length; tap++) {
      const weight = weights[tap];
      const start = (first + tap) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] += weight * rgb[start + i];
    }
    const start = row * rowBytes;
    for (let i = 0; i < rowBytes; i++) out[start + i] = sums[i] >> 8;
  });
  return pixelsOf(height, width, out);
}

function ofWidth({ height, width: from, rgb }: Pixels, width: number, method: Resize): Pixels {
  const out = new Uint8Array(height * width * 3);
  const columns = filterTaps(from, width, method);
  // Flat, and each row from left to right: in this order a processor's cache is used well.
  const starts = Int32Array.from(columns, ({ first }) => first * 3);
  const counts = Int32Array.from(columns, ({ weights }) => weights.length);
  const flat = Int32Array.from(columns.flatMap(({ weights }) => weights));
  for (let row = 0, target = 0; row < height; row++) {
    const rowStart = row * from * 3;
    for (let column = 0, tap = 0; column < width; column++) {
      let red = WEIGHT_SUM / 2;
      let green = red;
      let blue = red;
      let source = rowStart + starts[column];
      for (const end = tap + counts[column]; tap < end; tap++) {
        const weight = flat[tap];
        red += weight * rgb[source++];
        green += weight * rgb[source++];
        blue += weight * rgb[source++];
      }
      out[target++] = red >> 8;
      out[target++] = green >> 8;
      out[target++] = blue >> 8;
    }
  }
  return pixelsOf(height, width, out);
}

const isWide = (pixels: Pixels, spec: PreprocessSpec) =>
  pixels.width * spec.height >= pixels.height * spec.width;

/** `length * to / of`, halves up, at least 1. */
const rounded = (length: number, to: number, of: number) =>
  Math.max(1, Math.floor((2 * length * to + of) / (2 * of)));

function cut(pixels: Pixels, top: number, left: number, rows: number, columns: number): Pixels {
  const out = new Uint8Array(rows * columns * 3);
  for (let row = 0; row < rows; row++) {
    const start = ((top + row) * pixels.width + left) * 3;
    out.set(pixels.rgb.subarray(start, start + columns * 3), row * columns * 3);
  }
  return pixelsOf(rows, columns, out);
}

/** Black, with the image in its middle. */
function framed(pixels: Pixels, height: number, width: number): Pixels {
  const out = new Uint8Array(height * width * 3);
  const top = Math.floor((height - pixels.height) / 2);
  const left = Math.floor((width - pixels.width) / 2);
  const rowBytes = pixels.width * 3;
  for (let row = 0; row < pixels.height; row++) {
    const source = pixels.rgb.subarray(row * rowBytes, (row + 1) * rowBytes);
    out.set(source, ((top + row) * width + left) * 3);
  }
  return pixelsOf(height, width, out);
}

/**
 * What of an image the model sees, in the image's own aspect: the centre with `crop`, all with
 * `stretch`, and all with black beside it with `pad`.
 */
export function seenPart(pixels: Pixels, spec: PreprocessSpec): Pixels {
  if (spec.fit === "crop") return centreOf(pixels, spec);
  if (spec.fit === "stretch") return pixels;
  const side = Math.max(pixels.height, pixels.width);
  return framed(pixels, side, side);
}

function centreOf(pixels: Pixels, spec: PreprocessSpec): Pixels {
  const [rows, columns] = isWide(pixels, spec)
    ? [pixels.height, rounded(pixels.height, spec.width, spec.height)]
    : [rounded(pixels.width, spec.height, spec.width), pixels.width];
  const top = Math.floor((pixels.height - rows) / 2);
  const left = Math.floor((pixels.width - columns) / 2);
  return cut(pixels, top, left, rows, columns);
}

/** Luma of ITU-R BT.601 in each of three channels. */
function grey(pixels: Pixels): Pixels {
  const out = new Uint8Array(pixels.rgb.length);
  for (let i = 0; i < out.length; i += 3) {
    const [red, green, blue] = pixels.rgb.subarray(i, i + 3);
    out.fill((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16, i, i + 3);
  }
  return pixelsOf(pixels.height, pixels.width, out);
}

/** Brings an image of any size to the input's; of a grey input, three equal channels. */
export function fitPixels(pixels: Pixels, spec: PreprocessSpec): Pixels {
  const image = spec.channels === 1 ? grey(pixels) : pixels;
  const { height, width, resize } = spec;
  if (spec.fit === "stretch") return resized(image, height, width, resize);
  if (spec.fit === "crop") return resized(centreOf(image, spec), height, width, resize);
  const [rows, columns] = isWide(image, spec)
    ? [rounded(image.height, width, image.width), width]
    : [height, rounded(image.width, height, image.height)];
  return framed(resized(image, rows, columns, resize), height, width);
}

export type Dtype = "float32" | "uint8" | "int8" | "int16";

/** Of an input tensor. */
export type InputValues = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer>;

export interface Quantization {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** The lowest and highest number of each whole type. */
const LIMITS = { uint8: [0, 255], int8: [-128, 127], int16: [-32768, 32767] } as const;

/** `round(value / scale) + zeroPoint`, halves away from zero, clamped to the type. */
export function quantize(
  value: number,
  quantization: Quantization,
  dtype: keyof typeof LIMITS,
): number {
  const scaled = value / quantization.scale;
  const rounded = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5) + quantization.zeroPoint;
  const [low, high] = LIMITS[dtype];
  return Math.min(Math.max(rounded, low), high);
}

/** What each of the 256 levels of a channel becomes in the input tensor. */
function levelTable(
  channel: number,
  spec: PreprocessSpec,
  dtype: Dtype,
  quantization: Quantization | null,
): Float32Array {
  return Float32Array.from({ length: 256 }, (_, level) => {
    const [mean, std] = [spec.mean?.[channel], spec.std?.[channel]];
    if (mean === undefined || std === undefined) return dtype === "int8" ? level - 128 : level;
    if (dtype === "float32") {
      // Each step in float32, as numpy does it.
      return Math.fround(Math.fround(level - Math.fround(mean)) / Math.fround(std));
    }
    return quantize((level - mean) / std, quantization ?? { scale: 1, zeroPoint: 0 }, dtype);
  });
}

/** Pixels at the input's size to the values of the input tensor. */
export function toTensor(
  fitted: Pixels,
  spec: PreprocessSpec,
  dtype: Dtype,
  quantization: Quantization | null,
): InputValues {
  const places = fitted.height * fitted.width;
  const length = places * spec.channels;
  const out =
    dtype === "float32"
      ? new Float32Array(length)
      : dtype === "uint8"
        ? new Uint8Array(length)
        : new Int8Array(length);
  for (let channel = 0; channel < spec.channels; channel++) {
    const values = levelTable(channel, spec, dtype, quantization);
    const [start, step] = spec.layout === "NHWC" ? [channel, spec.channels] : [channel * places, 1];
    for (let place = 0, target = start; place < places; place++, target += step) {
      out[target] = values[fitted.rgb[place * 3 + channel]];
    }
  }
  return out;
}
