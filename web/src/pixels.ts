// Upright images, as bytes.

import { expect } from "./errors.js";

export interface Pixels {
  readonly height: number;
  readonly width: number;
  /** `[height, width, 3]`, 0 to 255. */
  readonly rgb: Uint8Array;
}

export function pixelsOf(height: number, width: number, rgb: Uint8Array): Pixels {
  expect(
    height > 0 && width > 0 && rgb.length === height * width * 3,
    () => `expected RGB pixels [${height}, ${width}, 3], got ${rgb.length} bytes`,
  );
  return { height, width, rgb };
}

/** Copies what a canvas gives, over white already and so without its alpha, to a place of `rgb`. */
export function intoRgb(rgba: Uint8ClampedArray, rgb: Uint8Array, place: number): void {
  for (let from = 0, to = place; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
}

/**
 * By how much Python's reader has a JPEG decoded smaller: by 8, 4 or 2, as long as both sides stay
 * twice the input's longer one; see `read_image` in kit/runtime/images.py.
 */
export function jpegScale(height: number, width: number, longerSide: number): number {
  const room = Math.floor(Math.min(height, width) / (2 * longerSide));
  return [8, 4, 2].find((scale) => room >= scale) ?? 1;
}

/** The mean of each block of `scale` pixels, nearly what a JPEG's smaller DCT gives. */
export function reduced(pixels: Pixels, scale: number): Pixels {
  if (scale === 1) return pixels;
  const [height, width] = [pixels.height, pixels.width].map((side) => Math.ceil(side / scale));
  const rgb = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const rows = Math.min(scale, pixels.height - y * scale);
    for (let x = 0; x < width; x++) {
      const columns = Math.min(scale, pixels.width - x * scale);
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) {
          const start = ((y * scale + row) * pixels.width + x * scale) * 3 + channel;
          for (let column = 0; column < columns; column++) sum += pixels.rgb[start + 3 * column];
        }
        rgb[(y * width + x) * 3 + channel] = Math.floor(sum / (rows * columns) + 0.5);
      }
    }
  }
  return pixelsOf(height, width, rgb);
}
