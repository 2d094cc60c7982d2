// Bundles the page for `kit deploy web`, into the Python package.

import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = process.argv[2] ?? "../kit/deploy/web_files";
const common = { bundle: true, minify: true, target: "es2022", logLevel: "warning" };

await rm(out, { recursive: true, force: true });
await mkdir(`${out}/site`, { recursive: true });
await mkdir(`${out}/single`, { recursive: true });
const { metafile } = await build({
  ...common,
  entryPoints: ["src/page.ts", "src/service_worker.ts"],
  format: "esm",
  splitting: true, // so that what reads DICOM is loaded by those who need it
  chunkNames: "[name]-[hash]",
  outdir: `${out}/site`,
  metafile: true,
});
await build({ ...common, entryPoints: ["src/page.ts"], format: "iife", outdir: `${out}/single` });
await cp("public", `${out}/site`, { recursive: true });
// The variant without relaxed SIMD: every browser runs it, and one is enough. Gzipped: 3 MB of 9,
// also from a server that compresses nothing. Its name is none that a server would unpack.
const litert = "node_modules/@litertjs/core/wasm/litert_wasm_compat_internal";
await cp(`${litert}.js`, `${out}/site/litert.js`);
const wasm = await readFile(`${litert}.wasm`);
await writeFile(`${out}/site/litert.wasm.packed`, gzipSync(wasm, { level: 9 }));

// Into the page itself, so that one file has them too.
const inputs = Object.keys(metafile.inputs).join("\n");
const packages = new Set(
  Array.from(inputs.matchAll(/^node_modules\/((?:@[^/]+\/)?[^/]+)/gm), ([, name]) => name),
);
const licences = await Promise.all(
  [...packages].sort().map(async (name) => {
    const facts = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf-8"));
    const title = `${name} ${facts.version}, ${facts.license}`;
    const text = await readFile(`node_modules/${name}/LICENSE`, "utf-8").catch(() => null);
    if (text !== null) return `${title}\n\n${text}`;
    // LiteRT's packages are without its text.
    if (facts.license === "Apache-2.0") return `${title}: its text is at the end`;
    throw new Error(`expected a LICENSE in node_modules/${name}, there is none`);
  }),
);
licences.push(`mobilenet-kit, Apache-2.0\n\n${await readFile("../LICENSE", "utf-8")}`);
const text = licences.join("\n\n").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const page = await readFile("public/index.html", "utf-8");
const place = '<pre id="licences" lang="en">';
await writeFile(`${out}/site/index.html`, page.replace(place, () => `${place}\n${text}`));
