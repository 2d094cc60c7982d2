// LiteRT for browsers: the one interpreter of this page.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import type { Interpreter } from "./classifier.js";
import { KitError } from "./errors.js";
import type { ModelFile } from "./model_file.js";

/**
 * @param script address of LiteRT's script.
 * @param wasm its WebAssembly.
 * @throws KitError where the interpreter refuses the model.
 */
export async function openInterpreter(
  file: ModelFile,
  script: string,
  wasm: Uint8Array,
): Promise<Interpreter> {
  // What the script looks for, and finds in place of a file.
  Object.assign(globalThis, { Module: { wasmBinary: wasm } });
  await loadLiteRt(script);
  try {
    const model = await loadAndCompile(file.content, { accelerator: "wasm" });
    return async (input) => {
      // int8 and int16 inputs are refused before: LiteRT.js has no tensors of them.
      const tensor = new Tensor(input as Float32Array<ArrayBuffer>, [...file.input.shape]);
      const outputs = await model.run(tensor);
      const found = outputs.map((output) => output.toTypedArray().slice());
      for (const one of [tensor, ...outputs]) one.delete();
      return found;
    };
  } catch (error) {
    throw new KitError(`expected a model that LiteRT runs, it refuses: ${String(error)}`);
  }
}
