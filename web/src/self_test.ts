// Does this device compute what the model's maker computed? As kit/runtime/self_test.py.

import type { Classifier } from "./classifier.js";
import { sha256 } from "./model_file.js";
import { type Pixels, pixelsOf } from "./pixels.js";
import { fitPixels } from "./preprocess.js";

export interface CheckResult {
  readonly samePixels: boolean;
  /** Largest of a score. */
  readonly difference: number;
  readonly tolerance: number;
  readonly passed: boolean;
}

/** A coloured pattern from whole numbers alone, the same in every language. */
export function drawPattern(index: number): Pixels {
  const [height, width] = [181, 240];
  const block = 14 * (index + 1);
  const rgb = new Uint8Array(height * width * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        const blocks = Math.floor(y / block) * 59 + Math.floor(x / block) * 37;
        rgb[at++] = (blocks + channel * 83 + Math.floor((y * x) / 64)) % 256;
      }
    }
  }
  return pixelsOf(height, width, rgb);
}

/** A result for each golden check of the card. */
export async function selfTest(classifier: Classifier): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const golden of classifier.file.card.golden) {
    const fitted = fitPixels(drawPattern(golden.pattern), classifier.file.card.preprocess);
    const { scores } = await classifier.run(fitted);
    const differences = golden.scores.map((score, index) => Math.abs(scores[index] - score));
    const difference = Math.max(...differences);
    const samePixels = sha256(fitted.rgb) === golden.digest;
    const passed = samePixels && difference <= golden.tolerance;
    results.push({ samePixels, difference, tolerance: golden.tolerance, passed });
  }
  return results;
}
