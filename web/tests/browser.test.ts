// The page in a browser, against what Python says of the same images. tests/web/test_web.py makes
// the folder that KIT_WEB_TEST names:
//   site/, other/   pages of kit deploy web, of two models
//   strict/         the same as site/ with a score threshold that no score reaches
//   one.html        the same as site/ in one file
//   images/         images, by which decoders give the same pixels and by which they do not
//   results.csv     what kit-label says of them

import { createReadStream } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

const folder = process.env["KIT_WEB_TEST"] ?? "";
const executablePath = process.env["KIT_CHROMIUM"] ?? "/usr/bin/chromium";
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
const EXACT = [".png", ".dcm", ".gif"];
/** Largest differences: of what is rounded, and of unfamiliarity, which is computed in float32. */
const ROUNDED = {
  ...{ score: 2e-6, highest_score: 2e-6 },
  ...{ brightness: 1e-4, contrast: 1e-4, sharpness: 1e-4 },
};
const OF_SAME_PIXELS = { ...ROUNDED, unfamiliarity: 1e-3 };
/** Of photographs that Python decodes at a smaller scale. */
const OF_JPEG = {
  ...{ score: 0.05, highest_score: 0.05 },
  ...{ brightness: 3e-3, contrast: 3e-3, sharpness: 3e-3 },
};

let browser: Browser;
let context: BrowserContext;
let page: Page;
let site: string;
let server: Server;
let origin: string;
let complaints: string[];

async function serve(port = 0): Promise<void> {
  server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://x").pathname;
    const file = join(site, path.endsWith("/") ? `${path}index.html` : path);
    const stream = createReadStream(file);
    stream.once("open", () => {
      response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
      stream.pipe(response);
    });
    stream.once("error", () => response.writeHead(404).end());
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  origin = `http://localhost:${(server.address() as AddressInfo).port}`;
}

async function stopServing(): Promise<void> {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

async function newPage(): Promise<Page> {
  const opened = await context.newPage();
  opened.on("pageerror", (error) => complaints.push(error.message));
  opened.on("console", (message) => {
    // LiteRT logs its start as errors.
    if (/Content Security Policy|Refused to/.test(message.text())) complaints.push(message.text());
  });
  opened.on("request", (request) => {
    if (!/^(blob|data|file):/.test(request.url()) && !request.url().startsWith(origin)) {
      complaints.push(`asked for ${request.url()}`);
    }
  });
  return opened;
}

const says = (text: RegExp, on = page) =>
  on.waitForFunction(
    (pattern) => new RegExp(pattern).test(document.getElementById("status")?.textContent ?? ""),
    text.source,
    { timeout: 100_000 },
  );

async function label(...names: string[]): Promise<void> {
  const before = await page.locator("#rows tr").count();
  await page.setInputFiles("#files", names.map((name) => join(folder, "images", name)));
  await page.waitForFunction(
    (count) => document.querySelectorAll("#rows tr").length === count,
    before + names.length,
    { timeout: 60_000 },
  );
}

async function csv(): Promise<Record<string, string>[]> {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  return parsed(await readFile(await download.path(), "utf-8"));
}

/** Of cells without commas and quotes. */
function parsed(text: string): Record<string, string>[] {
  const [head, ...lines] = text.trimEnd().split("\n").map((line) => line.split(","));
  return lines.map((cells) => Object.fromEntries(cells.map((cell, i) => [head[i], cell])));
}

describe.skipIf(folder === "")("the page", () => {
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath,
      args: [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--host-resolver-rules=MAP other.machine 127.0.0.1", // no secure context, as it were
      ],
    });
  });
  afterAll(async () => browser?.close());

  beforeEach(async () => {
    complaints = [];
    site = join(await mkdtemp(join(tmpdir(), "kit-web-")), "site");
    await cp(join(folder, "site"), site, { recursive: true });
    await serve();
    context = await browser.newContext();
    page = await newPage();
  });
  afterEach(async () => {
    await context.close();
    await stopServing();
    await rm(join(site, ".."), { recursive: true });
    expect(complaints).toEqual([]);
  });

  const open = async (path = "") => {
    await page.goto(`${origin}/${path}`);
    await says(/works without a network now/);
  };
  const digest = () => page.textContent("#facts dd:last-of-type");
  const caches = () => page.evaluate(() => globalThis.caches.keys());

  test("says of every image what kit-label says", async () => {
    await open();
    const names = (await readdir(join(folder, "images"))).sort();
    await label(...names);
    const rows = await csv();
    const expected = parsed(await readFile(join(folder, "results.csv"), "utf-8"));
    const same = ["label", "answer", "unknown", "model", "card", "kit", "positive_from"];
    expect(rows.length).toBe(names.length);
    for (const row of rows) {
      const theirs = expected.find((one) => one.image.endsWith(`/${row.image}`));
      expect(theirs, row.image).toBeDefined();
      if (theirs === undefined) continue;
      expect(row.error === "", row.image).toBe(theirs.error === "");
      expect(Object.keys(row)).toEqual(Object.keys(theirs));
      for (const name of ["size_bytes", ...same]) expect(row[name], row.image).toBe(theirs[name]);
      const allowed = EXACT.includes(extname(row.image)) ? OF_SAME_PIXELS : OF_JPEG;
      for (const [name, most] of Object.entries(allowed)) {
        const difference = Math.abs(Number(row[name]) - Number(theirs[name]));
        expect(difference, `${row.image} ${name}`).toBeLessThanOrEqual(most);
      }
    }
  });

  test("computes what the model's maker computed", async () => {
    await open();
    await page.click("#self-test");
    await page.waitForFunction(() => document.getElementById("self-test-result")?.textContent);
    expect(await page.textContent("#self-test-result")).toContain("This device computes what");
  });

  test("works when its server is gone", async () => {
    await open();
    await stopServing();
    await page.reload();
    await says(/works without a network now/);
    await label("red.png");
    expect(await page.textContent("#headline")).not.toBe("");
    await label("grey.dcm"); // whose reader is loaded when it is needed
    expect(await page.locator("#rows tr").first().textContent()).not.toContain("expected");
    await serve(Number(new URL(origin).port));
  });

  test("changes to a new version as a whole, when no page of the old one is open", async () => {
    await open();
    const before = await digest();
    await rm(site, { recursive: true });
    await cp(join(folder, "other"), site, { recursive: true });
    await page.evaluate(async () => (await navigator.serviceWorker.ready).update());
    await says(/A new version is stored/);
    await page.reload();
    await says(/A new version is stored/);
    expect(await digest()).toBe(before);
    await expect
      .poll(
        async () => {
          await page.close(); // a browser takes a moment to see that there is none left
          page = await newPage();
          await page.goto(`${origin}/`);
          await says(/works without a network now|A new version is stored/);
          return digest();
        },
        { timeout: 60_000 },
      )
      .not.toBe(before);
    await expect.poll(caches).toHaveLength(1); // the old version's is gone
  });

  test("tells of a new version that was found before its page could listen", async () => {
    await open();
    await page.exposeFunction("changeSite", async () => {
      await rm(site, { recursive: true });
      await cp(join(folder, "other"), site, { recursive: true });
    });
    await page.addInitScript(() => {
      const register = navigator.serviceWorker.register.bind(navigator.serviceWorker);
      navigator.serviceWorker.register = async (script) => {
        const registration = await register(script);
        const found = new Promise((done) => registration.addEventListener("updatefound", done));
        // biome-ignore lint: exposed above
        await (globalThis as any).changeSite();
        await Promise.all([found, registration.update()]);
        return registration;
      };
    });
    await page.reload();
    await says(/A new version is stored/);
  });

  test("leaves the pages in its folders alone", async () => {
    for (const inner of ["one", "two"]) {
      await cp(join(folder, "other"), join(site, inner), { recursive: true });
    }
    await open("one/");
    const theirs = await digest();
    await open();
    expect(await digest()).not.toBe(theirs);
    expect(await caches()).toHaveLength(2);
    await open("two/");
    expect(await page.title()).toBe("Other colours");
    await page.goto(`${origin}/style.css`);
    expect(await page.textContent("body")).toContain("color-scheme");
    await stopServing();
    for (const path of ["index.html", "one/", "two/index.html", "?from=home"]) {
      await open(path);
      expect((await digest()) === theirs).toBe(path.includes("/"));
    }
    await serve(Number(new URL(origin).port));
  });

  test.each(["light", "dark"] as const)("axe finds nothing, %s", async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await open();
    await label("red.png", "broken.png");
    await page.check("#show-heat");
    await page.click("footer summary");
    const axe = await readFile("node_modules/axe-core/axe.min.js", "utf-8");
    await page.evaluate(axe); // not as a script of the page, which its policy forbids
    // biome-ignore lint: axe brings no types into the page
    const found = await page.evaluate(() => (globalThis as any).axe.run());
    const violations = found.violations.map((one: { id: string; nodes: { html: string }[] }) => [
      one.id,
      ...one.nodes.map((node) => node.html),
    ]);
    expect(violations).toEqual([]);
  });

  test("fits a phone", async () => {
    await page.setViewportSize({ width: 320, height: 640 });
    await open();
    await label("red.png");
    await page.click("footer summary");
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(width).toBeLessThanOrEqual(320);
  });

  test("is used by the keyboard alone", async () => {
    await open();
    const reached: string[] = [];
    for (let presses = 0; presses < 8; presses++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement?.id ?? ""));
    }
    for (const id of ["language", "files", "camera", "self-test"]) expect(reached).toContain(id);
  });

  test("speaks other languages", async () => {
    await open();
    await label("red.png");
    for (const [language, word] of [
      ["fr", "Choisir des photos"],
      ["es", "Elegir fotografías"],
    ]) {
      await page.selectOption("#language", language);
      expect(await page.textContent("label[for=files]")).toBe(word);
      expect(await page.getAttribute("html", "lang")).toBe(language);
      expect(await page.textContent("body")).not.toContain("{");
    }
  });

  test("takes what is dropped and what is pasted", async () => {
    await open();
    const content = (await readFile(join(folder, "images", "red.png"))).toString("base64");
    for (const [kind, target] of [
      ["drop", "#drop"],
      ["paste", "body"],
    ]) {
      await page.evaluate(
        ([content, kind, target]) => {
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
          const event =
            kind === "drop"
              ? new DragEvent("drop", { dataTransfer: data, bubbles: true })
              : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
          document.querySelector(target)?.dispatchEvent(event);
        },
        [content, kind, target],
      );
      await page.waitForFunction(
        (name) => document.querySelector("#rows td")?.textContent === name,
        `${kind}.png`,
      );
    }
  });

  test("looks through the camera until it is stopped", async () => {
    await context.grantPermissions(["camera"]);
    await open();
    await page.click("#camera");
    await page.waitForFunction(() => document.getElementById("headline")?.textContent);
    expect(await page.isVisible("#other-camera")).toBe(true);
    await page.click("#other-camera");
    await page.waitForFunction(() => {
      const { srcObject, videoWidth } = document.getElementById("video") as HTMLVideoElement;
      return srcObject !== null && videoWidth > 0;
    });
    await page.click("#camera");
    await page.waitForFunction(() => document.getElementById("camera")?.textContent === "Use the camera");
    expect(await page.evaluate(() => (document.getElementById("video") as HTMLVideoElement).srcObject)).toBeNull();
    expect((await csv())[0].image).toBe("camera");
  });

  test("says each new answer of the camera once", async () => {
    await open();
    const images = await Promise.all(
      ["red.png", "blue.png"].map(async (name) => {
        const content = await readFile(join(folder, "images", name), "base64");
        return `data:image/png;base64,${content}`;
      }),
    );
    const { status, headline } = await page.evaluate(async (images) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [320, 320];
      navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
      const noted: Record<string, string[]> = { status: [], headline: [] };
      for (const [id, texts] of Object.entries(noted)) {
        const note = (changes: MutationRecord[]) =>
          texts.push(...changes.map(({ addedNodes }) => addedNodes[0].textContent ?? ""));
        const target = document.getElementById(id) as HTMLElement;
        new MutationObserver(note).observe(target, { childList: true });
      }
      document.getElementById("camera")?.click();
      const image = new Image();
      for (const source of images) {
        const before = noted.headline.at(-1);
        image.src = source;
        await image.decode();
        for (let frames = 0; frames < 10; ) {
          canvas.getContext("2d")?.drawImage(image, 0, 0, 320, 320);
          const { length } = noted.headline;
          await new Promise(requestAnimationFrame);
          if (noted.headline.length > length && noted.headline.at(-1) !== before) frames++;
        }
      }
      return noted;
    }, images);
    const changes = headline.filter((text, index) => text !== headline[index - 1]);
    expect(changes.length).toBeGreaterThan(1);
    expect(status).toEqual(["Nothing leaves this device.", ...changes.map((text) => `${text}.`)]);
  });

  test("names no label for an unknown image where no score is enough", async () => {
    await rm(site, { recursive: true });
    await cp(join(folder, "strict"), site, { recursive: true });
    await open();
    await label("clear.png");
    expect(await page.textContent("#headline")).toBe("Unknown");
    expect(await page.textContent("#detail")).toBe("It is unlike the images that the model knows.");
  });

  test("has the licences of what it is made of", async () => {
    for (const place of [`${origin}/`, pathToFileURL(join(folder, "one.html")).href]) {
      await page.goto(place);
      expect(await page.isVisible("#licences")).toBe(false);
      await page.click("footer summary");
      expect(await page.isVisible("#licences")).toBe(true);
      const text = await page.textContent("#licences");
      for (const name of ["@litertjs/core", "@noble/hashes", "dicom-parser", "fflate"]) {
        expect(text).toContain(`${name} `);
      }
      expect(text).toContain("TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION");
      expect(text?.match(/Permission is hereby granted, free of charge/g)).toHaveLength(3);
    }
  });

  test("can be stopped while a browser still asks for its camera", async () => {
    await page.addInitScript(() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        await new Promise((done) => setTimeout(done, 500));
        const stream = await ask(wanted);
        Object.assign(globalThis, { opened: stream });
        return stream;
      };
    });
    await context.grantPermissions(["camera"]);
    await open();
    await page.click("#camera");
    await page.click("#camera");
    await page.waitForFunction(() => {
      // biome-ignore lint: put there above
      const { opened } = globalThis as any;
      return opened?.getTracks().every((track: MediaStreamTrack) => track.readyState === "ended");
    });
    expect(await page.textContent("#camera")).toBe("Use the camera");
    expect(await page.isVisible("#stage")).toBe(false);
  });

  test("says what to do where there is no camera", async () => {
    await page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    await open();
    await page.click("#camera");
    await says(/allow it in the browser's settings/);
  });

  test("works by plain HTTP from another machine, but for the camera", async () => {
    origin = origin.replace("localhost", "other.machine");
    await page.goto(`${origin}/`);
    await says(/^Ready.$/);
    await label("red.png");
    expect(await page.textContent("#headline")).not.toBe("");
    await page.click("#camera");
    await says(/HTTPS only/);
  });

  test("does not answer where a browser alters the pixels that it reads", async () => {
    await page.addInitScript(() => {
      const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;
      OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...place) {
        const image = read.apply(this, place);
        image.data[0] ^= 1;
        return image;
      };
    });
    await page.goto(`${origin}/`);
    await says(/This browser changes the pixels/);
    expect(await page.isDisabled("#files")).toBe(true);
  });

  test("draws where the model looked over the picture, in its very place", async () => {
    await page.setViewportSize({ width: 1366, height: 500 }); // too low for a square picture
    await open();
    await label("red.png");
    await page.check("#show-heat");
    const boxes = await page.evaluate(() =>
      ["picture", "heat"].map((id) => {
        const canvas = document.getElementById(id) as HTMLCanvasElement;
        const { x, y, width, height } = canvas.getBoundingClientRect();
        const { objectFit } = getComputedStyle(canvas);
        return { x, y, width, height, objectFit, own: [canvas.width, canvas.height] };
      }),
    );
    expect(boxes[1]).toEqual(boxes[0]);
  });

  test("can be installed", async () => {
    await open();
    const session = await context.newCDPSession(page);
    const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
    // A private window can install nothing.
    const errors = installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito");
    expect(errors).toEqual([]);
  });

  test("says what is wrong with its model", async () => {
    const path = join(site, "model.tflite");
    const model = await readFile(path);
    model[model.length >> 1] ^= 1;
    for (const [content, text] of [
      [model, /cannot work here: expected a (model as it was made|sound zip archive)/],
      [model.subarray(0, 1000), /cannot work here: expected a model with a card/],
      [Buffer.from(""), /cannot work here: expected a .tflite model/],
    ] as const) {
      await writeFile(path, content);
      await page.goto(`${origin}/`);
      await says(text);
    }
    await rm(path);
    await page.goto(`${origin}/`);
    await says(/cannot work here: expected model.tflite beside the page/);
  });

  test("takes no more memory with every image", async () => {
    await open();
    const content = (await readFile(join(folder, "images", "red.png"))).toString("base64");
    const session = await context.newCDPSession(page);
    const used = async (images: number): Promise<number> => {
      await page.click("#clear", { force: true }).catch(() => null);
      await page.evaluate(
        ([content, images]) => {
          const bytes = Uint8Array.from(atob(String(content)), (one) => one.charCodeAt(0));
          const data = new DataTransfer();
          for (let index = 0; index < Number(images); index++) {
            data.items.add(new File([bytes], `${index}.png`, { type: "image/png" }));
          }
          const event = new DragEvent("drop", { dataTransfer: data, bubbles: true });
          document.querySelector("#drop")?.dispatchEvent(event);
        },
        [content, images] as const,
      );
      await says(new RegExp(`${images} of ${images}`));
      await session.send("HeapProfiler.collectGarbage");
      return (await session.send("Runtime.getHeapUsage")).usedSize;
    };
    const before = await used(100);
    const after = await used(400);
    expect((after - before) / 300).toBeLessThan(5_000); // bytes an image: its row, and no picture
  });

  test("is one file that needs no server", async () => {
    await page.goto(pathToFileURL(join(folder, "one.html")).href);
    await says(/works without a network now/);
    await label("red.png", "grey.dcm");
    expect(await page.textContent("#headline")).not.toBe("");
  });

  test("says what to do where it is opened without a server", async () => {
    await page.goto(pathToFileURL(join(site, "index.html")).href).catch(() => null);
    expect(await page.textContent("body")).toContain("kit serve");
    complaints = []; // a browser runs no module of such a page, and says so
  });
});
