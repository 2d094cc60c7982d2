// What `kit deploy web` wrote into the page.

import { KitError } from "./errors.js";
import { LANGUAGES, type Language } from "./texts.js";

export interface Settings {
  readonly title: string;
  readonly language: Language;
  /** Version of the kit that wrote the page. */
  readonly kit: string;
}

export function readSettings(): Settings {
  const settings = JSON.parse(textOf("settings") ?? "{}");
  const language = settings.language in LANGUAGES ? settings.language : "en";
  return { title: settings.title ?? "", language, kit: settings.kit ?? "" };
}

const textOf = (id: string) => document.getElementById(id)?.textContent ?? null;

/** Whether the page holds all its files itself (`--single-file`). */
export const isSingleFile = () => document.getElementById("model.tflite") !== null;

/**
 * A file of the page, which lies beside it or, gzipped, in it.
 *
 * @throws KitError where it is not to be had.
 */
export async function fileOf(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const text = textOf(name);
  if (text !== null) {
    return unpacked(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)));
  }
  const response = await fetch(name).catch(() => null);
  if (response === null || !response.ok) {
    throw new KitError(`expected ${name} beside the page, it is not to be had`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

/** What was gzipped. */
export async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
