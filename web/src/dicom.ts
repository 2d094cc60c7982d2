// Uncompressed DICOM to pixels, as kit/runtime/dicom.py shows it; PS3.3 C.7.6.3 and C.11.2.

import { type DataSet, parseDicom } from "dicom-parser";
import { expect, KitError } from "./errors.js";
import { type Pixels, pixelsOf } from "./pixels.js";

const UNCOMPRESSED = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
const AS_PNG = "export it as PNG";

/** Raises KitError where it is damaged, compressed, or of a form that only kit-label knows. */
export function readDicom(content: Uint8Array): Pixels {
  let data: DataSet;
  try {
    data = parseDicom(content);
  } catch {
    throw new KitError("expected a sound DICOM file, got a damaged one");
  }
  const text = (tag: string) => data.string(tag)?.trim() ?? "";
  const integer = (tag: string) => data.uint16(tag) ?? 0;
  const syntax = text("x00020010");
  expect(UNCOMPRESSED.includes(syntax), () => `expected DICOM without compression: ${AS_PNG}`);
  const element = data.elements["x7fe00010"];
  expect(element !== undefined, () => "expected a DICOM image, got a DICOM file without pixels");
  const [rows, columns] = [integer("x00280010"), integer("x00280011")];
  const [allocated, stored] = [integer("x00280100"), integer("x00280101")];
  const photometric = text("x00280004");
  const samples = photometric === "RGB" ? 3 : 1;
  expect(
    ["MONOCHROME1", "MONOCHROME2", "RGB"].includes(photometric) &&
      (allocated === 8 || (allocated === 16 && samples === 1)) &&
      integer("x00280006") === 0 &&
      ["x00283000", "x00283010", "x52009229", "x52009230"].every((tag) => !(tag in data.elements)),
    () => `expected a plain grey or RGB image of 8 or 16 bits, got another form: ${AS_PNG}`,
  );
  const count = rows * columns * samples;
  expect(
    element.length >= (count * allocated) / 8 &&
      element.dataOffset + (count * allocated) / 8 <= content.length,
    () => `expected ${rows} by ${columns} pixels, the file ends before`,
  );
  const view = new DataView(content.buffer, content.byteOffset + element.dataOffset);
  const shift = 32 - stored;
  const signed = integer("x00280103") === 1;
  const value = (index: number) => {
    const raw = allocated === 8 ? view.getUint8(index) : view.getUint16(2 * index, true);
    return signed ? (raw << shift) >> shift : (raw << shift) >>> shift;
  };
  const values = Float64Array.from({ length: count }, (_, index) => value(index));
  if (samples === 3) {
    return pixelsOf(rows, columns, scaled(values, 0, 2 ** stored - 1));
  }
  const grey = greyOf(values, stored, allocated === 8 && !signed, data);
  const rgb = new Uint8Array(3 * count);
  grey.forEach((level, place) => {
    rgb.fill(photometric === "MONOCHROME1" ? 255 - level : level, 3 * place, 3 * place + 3);
  });
  return pixelsOf(rows, columns, rgb);
}

function greyOf(stored: Float64Array, bits: number, isByte: boolean, data: DataSet): Uint8Array {
  const number = (tag: string) => {
    const text = data.string(tag)?.split("\\")[0]?.trim();
    return text ? Number(text) : null;
  };
  const [slope, intercept] = [number("x00281053"), number("x00281052")];
  const isRescaled = slope !== null && intercept !== null && !(slope === 1 && intercept === 0);
  const values = isRescaled ? stored.map((one) => one * slope + intercept) : stored;
  const [centre, width] = [number("x00281050"), number("x00281051")];
  const shape = (data.string("x00281056") ?? "LINEAR").trim().toUpperCase() || "LINEAR";
  const possible =
    centre !== null &&
    width !== null &&
    Number.isFinite(centre + width) &&
    (shape === "LINEAR" ? width >= 1 : ["LINEAR_EXACT", "SIGMOID"].includes(shape) && width > 0);
  if (possible && centre !== null && width !== null) {
    return scaled(values.map(windowed(shape, centre, width)), 0, 1);
  }
  if (isByte && !isRescaled) return scaled(values, 0, 2 ** bits - 1);
  const known = values.filter((_, place) => !isPadding(stored[place], data));
  if (known.length === 0) return new Uint8Array(values.length);
  const low = known.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY);
  const high = known.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
  return scaled(values, low, high);
}

function isPadding(stored: number, data: DataSet): boolean {
  const signed = (data.uint16("x00280103") ?? 0) === 1;
  const read = (tag: string) => (signed ? data.int16(tag) : data.uint16(tag));
  const first = read("x00280120");
  if (first === undefined) return false;
  const last = read("x00280121") ?? first;
  return stored >= Math.min(first, last) && stored <= Math.max(first, last);
}

/** To 0 to 1, by the function of PS3.3 C.11.2.1. */
function windowed(shape: string, centre: number, width: number): (value: number) => number {
  if (shape === "SIGMOID") return (value) => 1 / (1 + Math.exp((-4 * (value - centre)) / width));
  if (shape === "LINEAR_EXACT") {
    return (value) => Math.min(Math.max((value - centre) / width + 0.5, 0), 1);
  }
  return (value) => {
    if (value <= centre - 0.5 - (width - 1) / 2) return 0;
    if (value > centre - 0.5 + (width - 1) / 2) return 1;
    return (value - (centre - 0.5)) / (width - 1) + 0.5;
  };
}

/** `low` to `high` as 0 to 255, halves up, clipped. */
function scaled(values: Float64Array, low: number, high: number): Uint8Array {
  if (low === high) return new Uint8Array(values.length);
  return Uint8Array.from(values, (value) => {
    const level = Math.floor(((value - low) * 255) / (high - low) + 0.5);
    return Math.min(Math.max(level, 0), 255);
  });
}
