// How bright, rich in contrast and sharp an image is, as kit/runtime/appearance.py has it.

import type { Pixels } from "./pixels.js";

export interface Appearance {
  readonly brightness: number;
  readonly contrast: number;
  readonly sharpness: number;
}

/** Of pixels at the input's size. */
export function appearanceOf({ height, width, rgb }: Pixels): Appearance {
  const luma = Int32Array.from({ length: height * width }, (_, place) => {
    const [red, green, blue] = [rgb[3 * place], rgb[3 * place + 1], rgb[3 * place + 2]];
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
  });
  let [sum, squares, edges] = [0, 0, 0];
  for (const value of luma) {
    sum += value;
    squares += value * value;
  }
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = y * width + x;
      const around = luma[at - 1] + luma[at + 1] + luma[at - width] + luma[at + width];
      edges += Math.abs(4 * luma[at] - around);
    }
  }
  const count = luma.length;
  const inner = Math.max(1, Math.max(0, height - 2) * Math.max(0, width - 2));
  const spread = Math.sqrt(Math.max(0, count * squares - sum * sum)) / count;
  return {
    brightness: sum / count / 255,
    contrast: spread / 255,
    sharpness: edges / inner / 255,
  };
}
