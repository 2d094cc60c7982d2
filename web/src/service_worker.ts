// Stores every file of the site on the first visit, so that later ones need no network. A changed
// site is stored whole beside the old one, and takes its place when no page of the old one is open:
// a page never gets files of two versions.

export {}; // a module, whose names are its own

const worker = self as unknown as ServiceWorkerGlobalScope;

/** Written by `kit deploy web`: every file with its digest, and a digest of all of them. */
interface Manifest {
  readonly version: string;
  readonly files: readonly string[];
}

const PREFIX = "mobilenet-kit ";
// Part of this script, so that a browser sees a changed site by a changed script.
const manifest: Manifest = JSON.parse("__MANIFEST__");
const name = PREFIX + worker.registration.scope + manifest.version;

worker.addEventListener("install", (event) => {
  const store = async () => {
    const cache = await caches.open(name);
    // Not from the browser's own cache unless the server says that it is still right.
    await cache.addAll(manifest.files.map((file) => new Request(file, { cache: "no-cache" })));
  };
  event.waitUntil(store());
});

worker.addEventListener("activate", (event) => {
  const tidy = async () => {
    const own = PREFIX + worker.registration.scope;
    const old = (await caches.keys()).filter((one) => one.startsWith(own) && one !== name);
    await Promise.all(old.map((one) => caches.delete(one)));
    await worker.clients.claim();
  };
  event.waitUntil(tidy());
});

worker.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const answer = async () => {
    const cache = await caches.open(name);
    // There is one page, whatever it was called by.
    const asked = event.request.mode === "navigate" ? "./" : event.request;
    const found = await cache.match(asked, { ignoreSearch: true });
    return found ?? fetch(event.request);
  };
  event.respondWith(answer());
});
