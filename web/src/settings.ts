// What `kit deploy web` wrote into the page.

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

/** A file that travels inside the page (`--single-file`), gzipped; null where it lies beside it. */
export async function embedded(id: string): Promise<Uint8Array<ArrayBuffer> | null> {
  const text = textOf(id);
  if (text === null) return null;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
