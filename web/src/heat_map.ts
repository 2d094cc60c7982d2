// Where a model looked, in colours, as kit/runtime/explain.py draws it.

import type { ActivationMap } from "./classifier.js";

const OPACITY = 0.65; // the photograph is to be seen beneath
/** From no evidence to the most; brighter all the way, so that it reads in grey too. */
const RAMP = [
  [0, 0, 0],
  [110, 0, 120],
  [220, 40, 50],
  [255, 160, 0],
  [255, 255, 120],
] as const;

/** Shares of the strongest place, 0 to 1, `[rows, columns]`: what speaks for a label. */
export function evidence(map: ActivationMap, label: number): Float32Array {
  const labels = map.values.length / (map.rows * map.columns);
  const own = Float32Array.from(
    { length: map.rows * map.columns },
    (_, place) => map.values[place * labels + label],
  );
  const strongest = own.reduce((most, value) => (value > most ? value : most), 0);
  return own.map((value) => (strongest > 0 && value > 0 ? value / strongest : 0));
}

/** RGBA of each place, `[rows, columns, 4]`: the stronger, the brighter and denser. */
export function heatColours(shares: Float32Array): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(shares.length * 4);
  shares.forEach((share, place) => {
    const position = share * (RAMP.length - 1);
    const step = Math.min(Math.floor(position), RAMP.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [low, high] = [RAMP[step][channel], RAMP[step + 1][channel]];
      rgba[place * 4 + channel] = low + (position - step) * (high - low);
    }
    rgba[place * 4 + 3] = 255 * OPACITY * share;
  });
  return rgba;
}
