// A .tflite file: the model, and the card in the zip archive that is appended to it.

import { sha256 as digestOf } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { unzipSync } from "fflate";
import { type ModelCard, parseCard } from "./card.js";
import { expect, KitError } from "./errors.js";
import { type TensorFacts, tensorsOf } from "./flatbuffer.js";

const CARD_NAME = "kit.json";
const MOST_CARD_BYTES = 4 << 20; // far above any card; more is no card

export interface ModelFile {
  readonly content: Uint8Array<ArrayBuffer>;
  readonly card: ModelCard;
  readonly input: TensorFacts;
  readonly outputs: readonly TensorFacts[];
  /** First digits of the whole file's SHA-256, as kit-label's results file has them. */
  readonly digest: string;
}

/** Raises KitError where it is no TensorFlow Lite model, has no card, or is damaged. */
export function readModelFile(content: Uint8Array<ArrayBuffer>): ModelFile {
  const isModel = content.length >= 16 && ascii(content, 4, 8) === "TFL3";
  expect(isModel, () => "expected a .tflite model, got another kind of file");
  const text = cardText(content);
  expect(
    text !== null,
    () => "expected a model with a card (kit.json), this file has none: kit package gives it one",
  );
  const card = parseCard(text);
  if (card.modelSha256) {
    const model = content.subarray(0, archiveStart(content) ?? content.length);
    expect(
      sha256(model) === card.modelSha256,
      () =>
        "expected a model as it was made, by the digest in its card, got one that was changed: " +
        "copy the file again",
    );
  }
  const { inputs, outputs } = tensorsOf(content);
  expect(inputs.length === 1, () => `expected a model with one input, got ${inputs.length}`);
  return { content, card, input: inputs[0], outputs, digest: sha256(content).slice(0, 12) };
}

function cardText(content: Uint8Array): string | null {
  if (archiveStart(content) === null) return null;
  try {
    // Of the whole file: the offsets in the archive count from its beginning.
    const files = unzipSync(content, {
      filter: (file) => file.name === CARD_NAME && file.originalSize <= MOST_CARD_BYTES,
    });
    const card = files[CARD_NAME];
    return card === undefined ? null : new TextDecoder().decode(card);
  } catch {
    throw new KitError("expected a sound zip archive behind the model, got a damaged one");
  }
}

/** Where the archive's first entry begins: that is where the model ends. PKWARE APPNOTE 4.3. */
function archiveStart(content: Uint8Array): number | null {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const last = content.length - 22;
  let end = last;
  while (end >= Math.max(0, last - 0xffff) && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < Math.max(0, last - 0xffff)) return null;
  try {
    let header = view.getUint32(end + 16, true);
    let first = Number.POSITIVE_INFINITY;
    for (let entries = view.getUint16(end + 10, true); entries > 0; entries--) {
      if (view.getUint32(header, true) !== 0x02014b50) throw new RangeError();
      first = Math.min(first, view.getUint32(header + 42, true));
      const lengths = [28, 30, 32].map((at) => view.getUint16(header + at, true));
      header += 46 + lengths.reduce((sum, length) => sum + length, 0);
    }
    return Number.isFinite(first) ? first : null;
  } catch {
    throw new KitError("expected a sound zip archive behind the model, got a damaged one");
  }
}

const ascii = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to));

/** In hexadecimal. Not by `crypto.subtle`, which browsers keep from pages without HTTPS. */
export const sha256 = (bytes: Uint8Array): string => bytesToHex(digestOf(bytes));
