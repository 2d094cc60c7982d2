// Bundles the page for `kit deploy web`, into the Python package.

import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = process.argv[2] ?? "../kit/deploy/web_files";
const packages = ["@litertjs/core", "@noble/hashes", "dicom-parser", "fflate"];
const common = { bundle: true, minify: true, target: "es2022", logLevel: "warning" };

await rm(out, { recursive: true, force: true });
await mkdir(`${out}/site`, { recursive: true });
await mkdir(`${out}/single`, { recursive: true });
await build({
  ...common,
  entryPoints: ["src/page.ts", "src/service_worker.ts"],
  format: "esm",
  splitting: true, // so that what reads DICOM is loaded by those who need it
  chunkNames: "[name]-[hash]",
  outdir: `${out}/site`,
});
await build({ ...common, entryPoints: ["src/page.ts"], format: "iife", outdir: `${out}/single` });
await cp("public", `${out}/site`, { recursive: true });
// The variant without relaxed SIMD: every browser runs it, and one is enough. Gzipped: 3 MB of 9,
// also from a server that compresses nothing. Its name is none that a server would unpack.
const litert = "node_modules/@litertjs/core/wasm/litert_wasm_compat_internal";
await cp(`${litert}.js`, `${out}/site/litert.js`);
const wasm = await readFile(`${litert}.wasm`);
await writeFile(`${out}/site/litert.wasm.packed`, gzipSync(wasm, { level: 9 }));
const licences = await Promise.all(
  packages.map(async (name) => {
    const facts = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf-8"));
    const text = await readFile(`node_modules/${name}/LICENSE`, "utf-8").catch(() => "");
    return `${name} ${facts.version}, ${facts.license}\n\n${text}`;
  }),
);
licences.push(await readFile("../LICENSE", "utf-8")); // Apache-2.0, of LiteRT too
await writeFile(`${out}/site/licences.txt`, licences.join("\n\n"));
