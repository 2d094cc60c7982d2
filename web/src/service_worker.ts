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

// Part of this script, so that a browser sees a changed site by a changed script.
const manifest: Manifest = JSON.parse("__MANIFEST__");
const { scope } = worker.registration;
const own = `mobilenet-kit ${scope}`;
const name = own + manifest.version;
const page = new URL(scope).pathname;

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
    // The name of a page in a folder of this one begins the same, and has the folder next.
    const isOld = (one: string) =>
      one !== name && one.startsWith(own) && /^[0-9a-f]{16}$/.test(one.slice(own.length));
    await Promise.all((await caches.keys()).filter(isOld).map((one) => caches.delete(one)));
    await worker.clients.claim();
  };
  event.waitUntil(tidy());
});

worker.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const answer = async () => {
    const cache = await caches.open(name);
    const { pathname } = new URL(event.request.url);
    const isPage = event.request.mode === "navigate" && [page, `${page}index.html`].includes(pathname);
    const found = await cache.match(isPage ? scope : event.request, { ignoreSearch: true });
    return found ?? fetch(event.request);
  };
  event.respondWith(answer());
});
