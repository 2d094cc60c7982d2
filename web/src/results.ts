// Rows of answers, with the columns of kit-label's --output, so that kit monitor reads them.

import type { Classification } from "./classifier.js";
import type { ModelFile } from "./model_file.js";

export const COLUMNS = [
  ...["time", "image", "size_bytes", "modified_ns"],
  ...["model", "card", "kit", "negative_below", "positive_from"],
  ...["label", "score", "highest_score", "answer", "unknown", "unfamiliarity"],
  ...["brightness", "contrast", "sharpness", "error"],
] as const;

export type Row = Readonly<Record<(typeof COLUMNS)[number], string>>;

export interface Source {
  readonly name: string;
  readonly sizeBytes: number | null;
  /** Since 1970. */
  readonly modifiedMs: number | null;
}

/**
 * @param found what was made of the image, or in one sentence why nothing was.
 * @param kit version of the kit that wrote the page.
 */
export function rowOf(
  source: Source,
  found: Classification | string,
  file: ModelFile,
  kit: string,
  time = new Date(),
): Row {
  const row = Object.fromEntries(COLUMNS.map((name) => [name, ""])) as Record<keyof Row, string>;
  const point = file.card.operatingPoint;
  Object.assign(row, {
    time: `${time.toISOString().slice(0, 19)}Z`,
    image: source.name.replaceAll("\r", "\\r").replaceAll("\n", "\\n"),
    size_bytes: source.sizeBytes === null ? "" : String(source.sizeBytes),
    modified_ns: source.modifiedMs === null ? "" : `${Math.round(source.modifiedMs)}000000`,
    model: file.digest,
    card: file.card.version,
    kit,
  });
  if (point !== null) {
    row.negative_below = point.negativeBelow.toFixed(6);
    row.positive_from = point.positiveFrom.toFixed(6);
  }
  if (typeof found === "string") return { ...row, error: found };
  const { answer, appearance } = found;
  const best = answer.categories[0];
  if (best !== undefined) Object.assign(row, { label: best.label, score: best.score.toFixed(6) });
  row.highest_score = found.highestScore.toFixed(6);
  row.answer = answer.decision ?? "";
  if (answer.unfamiliarity !== null) {
    row.unknown = answer.unknown ? "True" : "False"; // as Python writes it
    row.unfamiliarity = answer.unfamiliarity.toFixed(6);
  }
  for (const [name, value] of Object.entries(appearance)) {
    row[name as keyof Row] = value.toFixed(4);
  }
  return row;
}

/** The table as a CSV (RFC 4180, but for the ends of lines). */
export function toCsv(rows: readonly Row[]): string {
  const cell = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((name) => row[name]))];
  return lines.map((line) => `${line.map(cell).join(",")}\n`).join("");
}
