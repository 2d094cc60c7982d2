// What a model's inputs and outputs are. FlatBuffers' layout is that of its internals document, the
// fields are numbered as in TensorFlow Lite's schema.fbs. LiteRT does not tell of quantisation.

import { KitError } from "./errors.js";
import type { Dtype, Quantization } from "./preprocess.js";

export interface TensorFacts {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly quantization: Quantization | null;
}

const DTYPES: Readonly<Record<number, Dtype>> = { 0: "float32", 3: "uint8", 7: "int16", 9: "int8" };

/** Raises KitError where the file is damaged, or a tensor is of a type that the kit knows not. */
export function tensorsOf(content: Uint8Array): { inputs: TensorFacts[]; outputs: TensorFacts[] } {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  try {
    const model = new Table(view, view.getUint32(0, true));
    const graph = model.tables(2)[0];
    const tensors = graph.tables(0);
    const facts = (index: number) => tensorFacts(tensors[index]);
    return { inputs: graph.integers(1).map(facts), outputs: graph.integers(2).map(facts) };
  } catch (error) {
    if (error instanceof KitError) throw error;
    throw new KitError("expected a sound .tflite model, got a damaged one: copy it again");
  }
}

function tensorFacts(tensor: Table): TensorFacts {
  const dtype = DTYPES[tensor.byte(1)];
  if (dtype === undefined) {
    throw new KitError(`expected tensors of float32, uint8, int16 or int8, got type ${tensor.byte(1)}`);
  }
  const quantization = tensor.table(4);
  const scales = quantization?.reals(2) ?? [];
  return {
    name: tensor.text(3),
    shape: tensor.integers(0),
    dtype,
    quantization:
      quantization === null || scales.length === 0
        ? null
        : { scale: scales[0], zeroPoint: quantization.longs(3)[0] ?? 0 },
  };
}

class Table {
  constructor(
    private readonly view: DataView,
    private readonly position: number,
  ) {}

  private at(field: number): number | null {
    const vtable = this.position - this.view.getInt32(this.position, true);
    const place = 4 + 2 * field;
    if (place >= this.view.getUint16(vtable, true)) return null;
    const offset = this.view.getUint16(vtable + place, true);
    return offset === 0 ? null : this.position + offset;
  }

  private target(field: number): number | null {
    const at = this.at(field);
    return at === null ? null : at + this.view.getUint32(at, true);
  }

  byte(field: number): number {
    const at = this.at(field);
    return at === null ? 0 : this.view.getUint8(at);
  }

  table(field: number): Table | null {
    const target = this.target(field);
    return target === null ? null : new Table(this.view, target);
  }

  private vector<T>(field: number, size: number, read: (at: number) => T): T[] {
    const start = this.target(field);
    if (start === null) return [];
    const length = this.view.getUint32(start, true);
    if (length * size > this.view.byteLength) throw new RangeError();
    return Array.from({ length }, (_, index) => read(start + 4 + size * index));
  }

  tables(field: number): Table[] {
    const of = (at: number) => new Table(this.view, at + this.view.getUint32(at, true));
    return this.vector(field, 4, of);
  }

  integers(field: number): number[] {
    return this.vector(field, 4, (at) => this.view.getInt32(at, true));
  }

  longs(field: number): number[] {
    return this.vector(field, 8, (at) => Number(this.view.getBigInt64(at, true)));
  }

  reals(field: number): number[] {
    return this.vector(field, 4, (at) => this.view.getFloat32(at, true));
  }

  text(field: number): string {
    const bytes = this.vector(field, 1, (at) => this.view.getUint8(at));
    return new TextDecoder().decode(Uint8Array.from(bytes));
  }
}
