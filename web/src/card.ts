// What travels inside a model file: kit.json, as kit/model/spec.py defines it.

import { KitError, expect } from "./errors.js";

/** Of kit.json; a newer one is refused. */
export const SCHEMA_VERSION = 2;

const FITS = ["stretch", "crop", "pad"] as const;
const RESIZES = ["bilinear", "antialias"] as const;
const LAYOUTS = ["NHWC", "NCHW"] as const;
const OUTPUT_KINDS = ["scores", "logits", "probability", "logit", "independent_scores"] as const;

export type Fit = (typeof FITS)[number];
export type Resize = (typeof RESIZES)[number];
export type Layout = (typeof LAYOUTS)[number];
/** What a model's output is, and so how it becomes scores: see `toScores`. */
export type OutputKind = (typeof OUTPUT_KINDS)[number];

/** From decoded RGB pixels to the input; docs/explanation/preprocessing.md has the arithmetic. */
export interface PreprocessSpec {
  /** In pixels. */
  readonly height: number;
  /** In pixels. */
  readonly width: number;
  readonly fit: Fit;
  readonly resize: Resize;
  /** A value for each channel, subtracted from 0 to 255; null, with `std`, where pixels go in. */
  readonly mean: readonly number[] | null;
  readonly std: readonly number[] | null;
  /** 3 for RGB, 1 for grey. */
  readonly channels: number;
  readonly layout: Layout;
}

/** From which score of `positive` on an image is positive, and below which it is negative. */
export interface OperatingPoint {
  readonly positive: string;
  readonly negativeBelow: number;
  readonly positiveFrom: number;
}

export interface Screening {
  /** Above it an image is unknown; 1 is a typical training image. */
  readonly unfamiliarityThreshold: number;
  readonly activationMap: boolean;
}

/** A drawn input whose scores are known; see self_test.ts. */
export interface GoldenCheck {
  readonly pattern: number;
  /** SHA-256 of its pixels at the input's size. */
  readonly digest: string;
  readonly scores: readonly number[];
  /** Largest difference of a score that another processor may show. */
  readonly tolerance: number;
}

/** A share with its number of images and 95 % interval. */
export interface Measured {
  readonly value: number;
  readonly images: number;
  readonly low: number;
  readonly high: number;
}

export interface ModelCard {
  readonly backbone: string;
  readonly alpha: number | null;
  readonly quantization: string;
  readonly preprocess: PreprocessSpec;
  readonly labels: readonly string[];
  readonly scoreThreshold: number;
  readonly operatingPoint: OperatingPoint | null;
  readonly screening: Screening | null;
  readonly golden: readonly GoldenCheck[];
  readonly accuracy: Measured | null;
  readonly intendedUse: string;
  /** The day it was made, and how often thresholds were chosen anew. */
  readonly version: string;
  readonly outputKind: OutputKind;
  /** Of all that stands before the archive, in hexadecimal; empty in files of earlier kits. */
  readonly modelSha256: string;
}

/** Raises KitError where a field is missing, of a wrong type or impossible. */
export function parseCard(text: string): ModelCard {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new KitError("expected JSON in kit.json, got something else");
  }
  const card = new Fields("card", data);
  const version = card.integer("schema_version");
  expect(
    version <= SCHEMA_VERSION,
    () =>
      `expected kit.json of schema version ${SCHEMA_VERSION} or older, got ${version}: ` +
      "make this page again with a newer kit",
  );
  const labels = card.texts("labels");
  expect(
    labels.length > 0 && labels.every((label) => label.trim() && !/[\n\r]/.test(label)),
    () => "expected labels, each one line of text",
  );
  const point = card.child("operating_point", operatingPoint);
  expect(
    point === null || labels.includes(point.positive),
    () => `expected an operating point of one of the labels, got '${point?.positive}'`,
  );
  const golden = card.children("golden", goldenCheck);
  expect(
    golden.every((check) => check.scores.length === labels.length),
    () => `expected ${labels.length} golden scores, one for each label, got another number`,
  );
  const preprocess = card.child("preprocess", preprocessSpec);
  expect(preprocess !== null, () => "expected the field card.preprocess, it is missing");
  const created = card.text("created", "");
  return {
    backbone: card.text("backbone"),
    alpha: card.numberOrNull("alpha"),
    quantization: card.text("quantization"),
    preprocess,
    labels,
    scoreThreshold: card.numberOrNull("score_threshold") ?? 0,
    operatingPoint: point,
    screening: card.child("screening", screening),
    golden,
    accuracy: card.child("metrics", (metrics) => metrics.child("test", accuracy)),
    intendedUse: card.text("intended_use", ""),
    version: `${created.slice(0, 10)}.${card.children("history", () => null).length}`,
    outputKind: card.choice("output_kind", OUTPUT_KINDS, "scores"),
    modelSha256: card.text("model_sha256", ""),
  };
}

function preprocessSpec(fields: Fields): PreprocessSpec {
  const height = fields.integer("input_resolution");
  const width = fields.integer("input_width", height);
  for (const side of [height, width]) {
    expect(side >= 1 && side <= 4096, () => `expected an input of 1 to 4096 pixels, got ${side}`);
  }
  const channels = fields.integer("channels", 3);
  expect(channels === 1 || channels === 3, () => `expected 1 or 3 channels, got ${channels}`);
  fields.choice("channel_order", ["RGB"], "RGB");
  fields.choice("orientation", ["applied"], "applied");
  const [mean, std] = [fields.numbersOrNull("mean"), fields.numbersOrNull("std")];
  expect(
    (mean === null) === (std === null) &&
      [mean, std].every((values) => values === null || values.length === 3) &&
      !std?.includes(0),
    () => "expected three numbers in preprocess.mean and std, and no std of 0",
  );
  return {
    height,
    width,
    fit: fields.choice("fit", FITS),
    resize: fields.choice("resize", RESIZES),
    mean,
    std,
    channels,
    layout: fields.choice("layout", LAYOUTS, "NHWC"),
  };
}

function operatingPoint(fields: Fields): OperatingPoint {
  const [low, high] = [fields.number("negative_below"), fields.number("positive_from")];
  expect(
    0 <= low && low <= high && high <= 1,
    () => `expected 0 <= negative_below <= positive_from <= 1, got ${low} and ${high}`,
  );
  return { positive: fields.text("positive"), negativeBelow: low, positiveFrom: high };
}

function screening(fields: Fields): Screening {
  const threshold = fields.number("unfamiliarity_threshold");
  expect(threshold >= 0, () => `expected an unfamiliarity_threshold from 0 up, got ${threshold}`);
  return { unfamiliarityThreshold: threshold, activationMap: fields.truth("activation_map") };
}

function goldenCheck(fields: Fields): GoldenCheck {
  return {
    pattern: fields.integer("pattern"),
    digest: fields.text("digest"),
    scores: fields.numbers("scores"),
    tolerance: fields.number("tolerance"),
  };
}

// Metrics are free-form: what is not as expected is left out, not refused.
function accuracy(fields: Fields): Measured | null {
  try {
    const [low, high] = fields.numbers("interval_95");
    if (low === undefined || high === undefined) return null;
    return { value: fields.number("accuracy"), images: fields.integer("n"), low, high };
  } catch (error) {
    if (error instanceof KitError) return null;
    throw error;
  }
}

/** Typed access to a JSON object. */
class Fields {
  private readonly data: Record<string, unknown>;

  constructor(
    private readonly where: string,
    data: unknown,
  ) {
    expect(isObject(data), () => `expected ${where} to be a JSON object`);
    this.data = data;
  }

  private required<T>(name: string, kind: string, is: (value: unknown) => value is T, other?: T): T {
    const value = this.data[name] ?? other;
    expect(is(value), () => `expected ${this.where}.${name} to be ${kind}, got ${String(value)}`);
    return value;
  }

  text(name: string, other?: string): string {
    return this.required(name, "text", isText, other);
  }

  number(name: string): number {
    return this.required(name, "a number", isNumber);
  }

  numberOrNull(name: string): number | null {
    return this.data[name] == null ? null : this.number(name);
  }

  integer(name: string, other?: number): number {
    return this.required(name, "a whole number", isInteger, other);
  }

  truth(name: string): boolean {
    return this.required(name, "true or false", isBoolean);
  }

  choice<T extends string>(name: string, valid: readonly T[], other?: T): T {
    const is = (value: unknown): value is T => valid.includes(value as T);
    return this.required(name, `one of ${valid.join(", ")}`, is, other);
  }

  texts(name: string): readonly string[] {
    return this.required(name, "a list of text", isListOf(isText));
  }

  numbers(name: string): readonly number[] {
    return this.required(name, "a list of numbers", isListOf(isNumber));
  }

  numbersOrNull(name: string): readonly number[] | null {
    return this.data[name] == null ? null : this.numbers(name);
  }

  child<T>(name: string, read: (fields: Fields) => T): T | null {
    const value = this.data[name];
    return value == null ? null : read(new Fields(`${this.where}.${name}`, value));
  }

  children<T>(name: string, read: (fields: Fields) => T): T[] {
    const items = this.required(name, "a list of objects", isListOf(isObject), []);
    return items.map((item) => read(new Fields(`${this.where}.${name}`, item)));
  }
}

const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => Number.isFinite(value);
const isInteger = (value: unknown): value is number => Number.isInteger(value);
const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isListOf<T>(is: (value: unknown) => value is T): (value: unknown) => value is T[] {
  return (value): value is T[] => Array.isArray(value) && value.every(is);
}
