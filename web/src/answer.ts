// A model's output to an answer, as kit/model/output.py and kit/runtime/classifier.py have it.

import type { ModelCard, OutputKind } from "./card.js";
import type { Quantization } from "./preprocess.js";

/** One possible answer. */
export interface Category {
  readonly index: number;
  readonly label: string;
  readonly score: number;
}

export type Decision = "positive" | "negative" | "uncertain" | "unknown";

export interface Answer {
  /** Best first; none where all are below the card's score threshold. */
  readonly categories: readonly Category[];
  /** Null where the card has no operating point. */
  readonly decision: Decision | null;
  /** That the decision was made by; null where the card has no operating point. */
  readonly positiveScore: number | null;
  /** Whether the image is unlike those of the training; null where the file cannot tell. */
  readonly unknown: boolean | null;
  readonly unfamiliarity: number | null;
}

/** Whole numbers to real ones, as float32. */
export function dequantized(
  values: ArrayLike<number>,
  quantization: Quantization | null,
): Float32Array {
  if (quantization === null) return Float32Array.from(values);
  const { scale, zeroPoint } = quantization;
  return Float32Array.from(values, (value) => (value - zeroPoint) * scale);
}

/** What a model gave as scores, one for each label. */
export function toScores(row: Float32Array, kind: OutputKind): Float32Array {
  switch (kind) {
    case "scores":
    case "independent_scores":
      return row;
    case "logits":
      return softmax(row);
    case "probability":
      return Float32Array.of(1 - row[0], row[0]);
    case "logit":
      return softmax(Float32Array.of(0, row[0]));
  }
}

function softmax(logits: Float32Array): Float32Array {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/**
 * Scores to an answer.
 *
 * @param scores one for each label.
 * @param unfamiliarity of a screening model; null of a plain one.
 * @param topK how many categories there are at most.
 */
export function answerOf(
  card: ModelCard,
  scores: Float32Array,
  unfamiliarity: number | null,
  topK = Number.POSITIVE_INFINITY,
): Answer {
  const categories = [...scores.keys()]
    .filter((index) => scores[index] >= card.scoreThreshold)
    .sort((one, other) => scores[other] - scores[one]) // stable: equal scores keep their order
    .slice(0, topK)
    .map((index) => ({ index, label: card.labels[index], score: scores[index] }));
  const unknown =
    card.screening === null || unfamiliarity === null
      ? null
      : // Also where it is no number, as after an overflow.
        !(unfamiliarity <= card.screening.unfamiliarityThreshold);
  const point = card.operatingPoint;
  const positiveScore = point === null ? null : scores[card.labels.indexOf(point.positive)];
  let decision: Decision | null = null;
  if (point !== null && positiveScore !== null) {
    if (unknown) decision = "unknown";
    else if (positiveScore >= point.positiveFrom) decision = "positive";
    else if (positiveScore < point.negativeBelow) decision = "negative";
    else decision = "uncertain";
  }
  return { categories, decision, positiveScore, unknown, unfamiliarity };
}
