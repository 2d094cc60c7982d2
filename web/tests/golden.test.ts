// Pixels, tensors and answers against the files that Python and Kotlin are tested with too.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { answerOf, dequantized, toScores } from "../src/answer.js";
import { parseCard } from "../src/card.js";
import { sha256 } from "../src/model_file.js";
import { jpegScale, pixelsOf } from "../src/pixels.js";
import { fitPixels, filterTaps, toTensor } from "../src/preprocess.js";

// biome-ignore lint: golden files are data of any form
type Case = Record<string, any>;

function cases(name: string): Case[] {
  const path = new URL(`../../tests/golden/${name}`, import.meta.url);
  return JSON.parse(readFileSync(path, "utf-8")).cases;
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

function cardOf(changes: object) {
  return parseCard(
    JSON.stringify({
      schema_version: 1,
      backbone: "mobilenet_v1",
      alpha: 0.25,
      quantization: "int8",
      preprocess: { input_resolution: 4, fit: "stretch", resize: "bilinear", mean: null, std: null },
      labels: ["a", "b"],
      ...changes,
    }),
  );
}

const quantizationOf = (one: Case) =>
  one.quantization && {
    scale: one.quantization.scale,
    zeroPoint: one.quantization.zero_point,
  };

test.each(cases("golden.json").map((one) => [one.name, one] as const))("pixels: %s", (_, one) => {
  const { height, width } = one;
  const [a, b, d, e] = one.formula;
  const rgb = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [y, x] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width];
    return (a * y + b * x + d * (i % 3) + Math.floor((x * y) / e)) % 256;
  });
  const spec = cardOf({ preprocess: one.preprocess }).preprocess;
  const fitted = fitPixels(pixelsOf(height, width, rgb), spec);
  expect(Buffer.from(fitted.rgb).equals(bytes(one.pixels))).toBe(true);
  const tensor = toTensor(fitted, spec, one.dtype, quantizationOf(one));
  const content = new Uint8Array(tensor.buffer as ArrayBuffer);
  expect(Buffer.from(content).equals(bytes(one.tensor))).toBe(true);
  expect(sha256(content)).toBe(one.sha256);
});

test.each(cases("jpeg_scales.json"))("JPEG of $height by $width, $longer_side", (one) => {
  expect(jpegScale(one.height, one.width, one.longer_side)).toBe(one.scale);
});

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array, int16: Int16Array };

test.each(cases("answers.json").map((one) => [one.name, one] as const))("answer: %s", (_, one) => {
  const threshold = one.unfamiliarity_threshold;
  const card = cardOf({
    labels: one.labels,
    score_threshold: one.score_threshold,
    operating_point: one.operating_point,
    screening:
      threshold === null ? null : { unfamiliarity_threshold: threshold, activation_map: false },
    output_kind: one.output_kind,
    schema_version: 2,
  });
  const floats = (text: string) => new Float32Array(bytes(text).buffer);
  const values = new ARRAYS[one.dtype as keyof typeof ARRAYS](bytes(one.output).buffer);
  const ours = toScores(dequantized(values, quantizationOf(one)), card.outputKind);
  const expected = floats(one.scores);
  if (one.output_kind === "scores") {
    expect(Buffer.from(ours.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  } else {
    // Libraries differ in the last bit of an exponential.
    ours.forEach((score, index) => expect(Math.abs(score - expected[index])).toBeLessThan(1e-6));
  }
  const unfamiliarity = one.unfamiliarity === null ? null : floats(one.unfamiliarity)[0];
  const found = answerOf(card, expected, unfamiliarity, one.top_k ?? 99);
  expect(found.categories).toEqual(one.categories);
  expect(found.decision).toBe(one.answer);
  expect(found.unknown).toBe(one.unknown);
});

test("the weights of every position sum to 256", () => {
  for (const resize of ["bilinear", "antialias"] as const) {
    for (const source of [1, 2, 7, 224, 4000]) {
      for (const target of [1, 3, 224]) {
        for (const { first, weights } of filterTaps(source, target, resize)) {
          expect(weights.reduce((sum, weight) => sum + weight, 0)).toBe(256);
          expect(first >= 0 && first + weights.length <= source).toBe(true);
        }
      }
    }
  }
});
