// A model file and pixels in, an answer out.

import { type Appearance, appearanceOf } from "./appearance.js";
import { type Answer, answerOf, dequantized, toScores } from "./answer.js";
import { expect } from "./errors.js";
import type { ModelFile } from "./model_file.js";
import type { Pixels } from "./pixels.js";
import { fitPixels, type InputValues, toTensor } from "./preprocess.js";

const [SCORES, UNFAMILIARITY, ACTIVATION_MAP] = [0, 1, 2];

/** Runs a model: the values of its input, without a batch axis, to those of its outputs. */
export type Interpreter = (input: InputValues) => Promise<readonly ArrayLike<number>[]>;

/** Where a model looked: what each place adds to a label's logit. */
export interface ActivationMap {
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns, labels]`. */
  readonly values: Float32Array;
}

export interface Output {
  readonly scores: Float32Array;
  readonly unfamiliarity: number | null;
  readonly activationMap: ActivationMap | null;
}

export interface Classification {
  readonly answer: Answer;
  readonly activationMap: ActivationMap | null;
  /** The label with the highest score, whatever the card's threshold says. */
  readonly best: number;
  /** The score of that label. */
  readonly highestScore: number;
  readonly appearance: Appearance;
  /** Of preprocessing and inference together. */
  readonly milliseconds: number;
}

export class Classifier {
  constructor(
    readonly file: ModelFile,
    private readonly interpreter: Interpreter,
  ) {
    const { card, input, outputs } = file;
    const { height, width, channels, layout } = card.preprocess;
    const shape =
      layout === "NHWC" ? [1, height, width, channels] : [1, channels, height, width];
    expect(
      String(input.shape) === String(shape) && ["float32", "uint8"].includes(input.dtype),
      () =>
        `expected an input of [${shape}], float32 or uint8, got [${input.shape}], ${input.dtype}: ` +
        "package the model again",
    );
    const further = card.screening
      ? ["unfamiliarity", ...(card.screening.activationMap ? ["activation_map"] : [])]
      : [];
    expect(
      outputs.length === further.length + 1,
      () => `expected the outputs ${["scores", ...further].join(", ")}, got ${outputs.length}`,
    );
  }

  /**
   * @param last outputs of the frames before, by whose mean with this one's the answer is made;
   *   they get it too.
   */
  async classify(pixels: Pixels, last: Output[] = []): Promise<Classification> {
    const start = performance.now();
    const fitted = fitPixels(pixels, this.file.card.preprocess);
    const output = await this.run(fitted);
    const milliseconds = performance.now() - start;
    last.push(output);
    const { scores, unfamiliarity, activationMap } = meanOf(last);
    const answer = answerOf(this.file.card, scores, unfamiliarity);
    const highestScore = Math.max(...scores);
    const best = scores.indexOf(highestScore);
    const appearance = appearanceOf(fitted);
    return { answer, activationMap, best, highestScore, appearance, milliseconds };
  }

  /** What the model gives for pixels at the input's size. */
  async run(fitted: Pixels): Promise<Output> {
    const { card, input, outputs } = this.file;
    const tensor = toTensor(fitted, card.preprocess, input.dtype, input.quantization);
    const found = await this.interpreter(tensor);
    const values = (index: number) => dequantized(found[index], outputs[index].quantization);
    const scores = toScores(values(SCORES), card.outputKind);
    expect(
      scores.length === card.labels.length,
      () => `expected ${card.labels.length} scores, one for each label, got ${scores.length}`,
    );
    if (card.screening === null) return { scores, unfamiliarity: null, activationMap: null };
    const unfamiliarity = values(UNFAMILIARITY)[0];
    if (!card.screening.activationMap) return { scores, unfamiliarity, activationMap: null };
    const [, rows, columns] = outputs[ACTIVATION_MAP].shape;
    return {
      scores,
      unfamiliarity,
      activationMap: { rows, columns, values: values(ACTIVATION_MAP) },
    };
  }
}

/** The mean scores and unfamiliarity, and the last activation map. */
function meanOf(outputs: readonly Output[]): Output {
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const last = outputs[outputs.length - 1];
  if (outputs.length === 1) return last;
  return {
    scores: last.scores.map((_, label) => mean(outputs.map((output) => output.scores[label]))),
    unfamiliarity:
      last.unfamiliarity === null ? null : mean(outputs.map((output) => output.unfamiliarity ?? 0)),
    activationMap: last.activationMap,
  };
}
