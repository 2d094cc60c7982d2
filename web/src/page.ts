// The page: what is pressed, dropped and pasted, and what is shown.

import type { Answer } from "./answer.js";
import { CameraError, closeCamera, type Facing, openCamera } from "./camera.js";
import { type Classification, Classifier, type Output } from "./classifier.js";
import { evidence, heatColours } from "./heat_map.js";
import { drawn, readImage, readsPixelsExactly } from "./images.js";
import { openInterpreter } from "./litert.js";
import { readModelFile } from "./model_file.js";
import { type Pixels, reduced } from "./pixels.js";
import { seenPart } from "./preprocess.js";
import { type Row, type Source, rowOf, toCsv } from "./results.js";
import { selfTest } from "./self_test.js";
import { fileOf, isSingleFile, readSettings, unpacked } from "./settings.js";
import { filled, LANGUAGES, type Language, percents, TEXTS, type Texts } from "./texts.js";

const MOST_ROWS_SHOWN = 200; // all of them are in the CSV
const MOST_SIDE_SHOWN = 1600; // pixels, of the picture on the page
const SMOOTHED_FRAMES = 3; // as kit-label --camera

const settings = readSettings();
let texts: Texts = TEXTS[settings.language];
let classifier: Classifier | null = null;
const rows: Row[] = [];
let shown: { pixels: Pixels; found: Classification } | null = null;
let status: (texts: Texts) => string = (t) => t.loading;
let tested: (texts: Texts) => string = () => "";
let facing: Facing = "environment";
let filming = false;
let stream: MediaStream | null = null;
let filmed: Classification | null = null; // the last frame's
let unsaved = false;
const readyOnline = (t: Texts) => t.readyOnline;

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`expected an element ${id}`);
  return found as T;
}

const video = element<HTMLVideoElement>("video");
const picture = element<HTMLCanvasElement>("picture");
const heat = element<HTMLCanvasElement>("heat");
const heatBox = element<HTMLInputElement>("show-heat");
const language = element<HTMLSelectElement>("language");

const spoken = () => language.value as Language;

function say(told: (texts: Texts) => string): void {
  status = told;
  element("status").textContent = told(texts);
}

// ---------------------------------------------------------------- start

// Whatever nobody thought of is said, too.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  const error = messageOf(event.reason);
  say((t) => filled(t.failed, { error }));
});

async function start(): Promise<void> {
  for (const [code, name] of Object.entries(LANGUAGES)) language.add(new Option(name, code));
  document.title = settings.title;
  element("title").textContent = settings.title;
  speak(settings.language);
  listen();
  if (!readsPixelsExactly()) {
    say((t) => t.altered);
    return;
  }
  try {
    classifier = await openClassifier();
  } catch (error) {
    say((t) => filled(t.failed, { error: messageOf(error) }));
    return;
  }
  element("heat-switch").hidden = !classifier.file.card.screening?.activationMap;
  for (const id of ["files", "camera", "self-test"]) {
    element<HTMLInputElement>(id).disabled = false;
  }
  showFacts();
  say(readyOnline);
  void keptOffline().then((kept) => {
    if (kept && status === readyOnline) say((t) => t.ready);
  });
}

async function openClassifier(): Promise<Classifier> {
  const [model, packed] = await Promise.all([fileOf("model.tflite"), fileOf("litert.wasm.packed")]);
  const [file, wasm] = [readModelFile(model), await unpacked(packed)];
  const script = isSingleFile()
    ? // LiteRT takes an address for a script by its end.
      `${URL.createObjectURL(new Blob([await fileOf("litert.js")], { type: "text/javascript" }))}#.js`
    : "litert.js";
  return new Classifier(file, await openInterpreter(file, script, wasm));
}

/** Whether the next visit needs no network. */
async function keptOffline(): Promise<boolean> {
  if (isSingleFile()) return true;
  if (!("serviceWorker" in navigator)) return false;
  try {
    const registration = await navigator.serviceWorker.register("service_worker.js");
    tellOfNewVersions(registration);
    await navigator.serviceWorker.ready;
    // So that a browser that is short of room spares it.
    await navigator.storage?.persist?.();
    return true;
  } catch {
    return false; // as in a private window; the page works all the same
  }
}

function tellOfNewVersions(registration: ServiceWorkerRegistration): void {
  const tell = () => {
    // The first version waits too, for a moment and for nobody.
    if (registration.waiting !== null && registration.active !== null) say((t) => t.newVersion);
  };
  const follow = () => registration.installing?.addEventListener("statechange", tell);
  tell();
  follow(); // what was found before the browser handed out the registration
  registration.addEventListener("updatefound", follow);
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

// ---------------------------------------------------------------- what is given

function listen(): void {
  const files = element<HTMLInputElement>("files");
  files.addEventListener("change", () => {
    void label([...(files.files ?? [])]);
    files.value = ""; // so that the same file can be chosen again
  });
  const drop = element("drop");
  // On the whole page: elsewhere a browser would open the file in the page's place.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    void label([...(event.dataTransfer?.files ?? [])]);
  });
  addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault(); // the browser asks whether the results may go
  });
  document.addEventListener("paste", (event) => {
    void label([...(event.clipboardData?.files ?? [])]);
  });
  element("camera").addEventListener("click", () => void (filming ? stopFilming() : film()));
  element("other-camera").addEventListener("click", () => {
    facing = facing === "environment" ? "user" : "environment";
    void film();
  });
  heatBox.addEventListener("change", drawHeat);
  language.addEventListener("change", () => speak(language.value as Language));
  element("download").addEventListener("click", download);
  element("clear").addEventListener("click", () => {
    rows.length = 0;
    unsaved = false;
    showRows();
    element("files").focus();
  });
  element("self-test").addEventListener("click", () => void testDevice());
}

let queue: Promise<void> = Promise.resolve(); // the start is the first in it

/** Labels files one after another, whatever is given meanwhile. */
function label(files: readonly File[]): Promise<void> {
  queue = queue.then(async () => {
    if (classifier === null || files.length === 0) return;
    stopFilming();
    const { height, width } = classifier.file.card.preprocess;
    for (const [index, file] of files.entries()) {
      const source = { name: file.name, sizeBytes: file.size, modifiedMs: file.lastModified };
      let found: Classification | string;
      try {
        const pixels = await readImage(file, Math.max(height, width));
        found = await classifier.classify(pixels);
        show(pixels, found);
        if (index === 0) element("stage").scrollIntoView({ block: "nearest" });
      } catch (error) {
        found = messageOf(error);
      }
      keep(source, found);
      const [done, total] = [index + 1, files.length];
      const failure = typeof found === "string" ? `${file.name}: ${found}. ` : "";
      const answer = typeof found === "string" || done < total ? null : found.answer;
      // The last answer too, for those who hear the page.
      say((t) => {
        const told = answer === null ? "" : `${inWords(answer)[0]}. `;
        return failure + told + filled(t.working, { done, total });
      });
    }
  });
  return queue;
}

async function film(): Promise<void> {
  if (classifier === null) return;
  filming = true;
  filmed = null;
  showCamera();
  const own = await opened();
  if (own === null) return;
  say((t) => t.privacy);
  const last: Output[] = [];
  let told = "";
  while (stream === own) {
    if (video.videoWidth > 0) {
      const pixels = drawn(video, video.videoWidth, video.videoHeight);
      if (last.length === SMOOTHED_FRAMES) last.shift();
      const found = await classifier.classify(pixels, last);
      if (stream !== own) return; // it was stopped meanwhile
      filmed = found;
      show(pixels, found);
      const headline = () => inWords(found.answer)[0];
      // Those who hear the page hear a new answer, not every frame.
      if (headline() !== told) say(() => `${headline()}.`);
      told = headline();
    }
    await new Promise(requestAnimationFrame); // the page stays quick, and stops with its tab
  }
}

/** The camera that is shown now; null where there is none, or it was stopped meanwhile. */
async function opened(): Promise<MediaStream | null> {
  showStream(null);
  const wanted = facing;
  let own: MediaStream | null = null;
  try {
    own = await openCamera(wanted, stopFilming); // a browser may ask for long whether it may
    if (!filming || wanted !== facing || stream !== null) {
      closeCamera(own);
      return null;
    }
    showStream(own);
    await video.play();
    return own;
  } catch (error) {
    closeCamera(own);
    if (!filming || wanted !== facing) return null;
    filming = false;
    showStream(null);
    showCamera();
    const problem = error instanceof CameraError ? error.problem : "cameraBusy";
    say((t) => t[problem]);
    return null;
  }
}

function showStream(next: MediaStream | null): void {
  closeCamera(stream);
  video.srcObject = stream = next;
}

/** Ends it, and keeps the last answer. */
function stopFilming(): void {
  if (!filming) return;
  filming = false;
  if (filmed !== null) {
    keep({ name: texts.frame, sizeBytes: null, modifiedMs: null }, filmed);
  }
  showStream(null);
  showCamera();
  say(readyOnline);
}

function showCamera(): void {
  element("camera").textContent = filming ? texts.stopCamera : texts.startCamera;
  element("other-camera").hidden = !filming;
}

// ---------------------------------------------------------------- what is shown

/** Puts every text into a language. */
function speak(code: Language): void {
  texts = TEXTS[code];
  document.documentElement.lang = language.value = code;
  for (const one of document.querySelectorAll<HTMLElement>("[data-text]")) {
    one.textContent = texts[one.dataset.text as keyof Texts];
  }
  picture.setAttribute("aria-label", texts.picture);
  element("bars").setAttribute("aria-label", texts.scores);
  language.setAttribute("aria-label", texts.language);
  showCamera();
  element("status").textContent = status(texts);
  element("self-test-result").textContent = tested(texts);
  showFacts();
  showRows();
  if (shown !== null) showAnswer(shown.found);
}

function show(pixels: Pixels, found: Classification): void {
  const seen = classifier ? seenPart(pixels, classifier.file.card.preprocess) : pixels;
  const scale = Math.ceil(Math.max(seen.height, seen.width) / MOST_SIDE_SHOWN);
  shown = { pixels: reduced(seen, scale), found };
  const { height, width, rgb } = shown.pixels;
  [picture.width, picture.height] = [width, height];
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; to += 4) {
    image.data[to] = rgb[from++];
    image.data[to + 1] = rgb[from++];
    image.data[to + 2] = rgb[from++];
    image.data[to + 3] = 255;
  }
  picture.getContext("2d")?.putImageData(image, 0, 0);
  element("stage").hidden = false;
  drawHeat();
  showAnswer(found);
}

function drawHeat(): void {
  const map = shown?.found.activationMap ?? null;
  heat.hidden = shown === null || map === null || !heatBox.checked;
  if (shown === null || map === null || heat.hidden) return;
  const small = new OffscreenCanvas(map.columns, map.rows);
  const colours = heatColours(evidence(map, shown.found.best));
  small.getContext("2d")?.putImageData(new ImageData(colours, map.columns, map.rows), 0, 0);
  // As large as the picture, so that both lie on the page in the same place.
  [heat.width, heat.height] = [shown.pixels.width, shown.pixels.height];
  const context = heat.getContext("2d");
  if (context === null) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, heat.width, heat.height);
}

function showAnswer({ answer, milliseconds }: Classification): void {
  const [headline, detail, kind] = inWords(answer);
  element("answer").className = kind;
  element("headline").textContent = headline;
  element("detail").textContent = detail;
  element("milliseconds").textContent = filled(texts.milliseconds, {
    ms: milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds),
  });
  const bars = answer.categories.slice(0, 5).map(({ label, score }) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = label;
    const value = document.createElement("span");
    value.textContent = `${percents(spoken(), score)[0]} %`;
    const bar = document.createElement("meter");
    bar.value = score;
    bar.setAttribute("aria-hidden", "true"); // the number beside it says the same
    item.append(name, value, bar);
    return item;
  });
  element("bars").replaceChildren(...bars);
}

/** Headline, detail and kind of an answer. */
function inWords(answer: Answer): [string, string, string] {
  const best = answer.categories[0];
  const point = classifier?.file.card.operatingPoint ?? null;
  const values = { label: best?.label ?? "", percent: percents(spoken(), best?.score ?? 0)[0] };
  if (answer.unknown) {
    const detail = best === undefined ? texts.unknownDetailNone : texts.unknownDetail;
    return [texts.unknown, filled(detail, values), "unknown"];
  }
  if (point !== null && answer.positiveScore !== null) {
    const { negativeBelow, positiveFrom } = point;
    const shares = percents(spoken(), answer.positiveScore, negativeBelow, positiveFrom);
    const [percent, low, high] = shares;
    const own = { label: point.positive, percent, low, high };
    switch (answer.decision) {
      case "positive":
        return [
          filled(texts.positive, own),
          filled(texts.positiveDetail, { ...own, limit: high }),
          "positive",
        ];
      case "negative":
        return [
          filled(texts.negative, own),
          filled(texts.negativeDetail, { ...own, limit: low }),
          "negative",
        ];
      default:
        return [texts.uncertain, filled(texts.uncertainDetail, own), "uncertain"];
    }
  }
  if (best === undefined) {
    const [limit] = percents(spoken(), classifier?.file.card.scoreThreshold ?? 0);
    return [texts.notSure, filled(texts.notSureDetail, { limit }), "uncertain"];
  }
  return [best.label, filled(texts.bestDetail, values), "label"];
}

function keep(source: Source, found: Classification | string): void {
  if (classifier === null) return;
  rows.push(rowOf(source, found, classifier.file, settings.kit));
  unsaved = true;
  showRows();
}

function showRows(): void {
  const body = rows
    .slice(-MOST_ROWS_SHOWN)
    .reverse()
    .map((row) => {
      const line = document.createElement("tr");
      const word = row.unknown === "True" ? "unknown" : row.answer;
      const known = word === "" ? "" : texts[`${word}Word` as keyof Texts];
      const answer = row.error || [known, row.label].filter(Boolean).join(": ");
      const score = row.score === "" ? "" : `${percents(spoken(), Number(row.score))[0]} %`;
      for (const text of [row.image, answer, score]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        line.append(cell);
      }
      return line;
    });
  element("rows").replaceChildren(...body);
  element("table").hidden = element("no-results").hidden = false;
  element(rows.length === 0 ? "table" : "no-results").hidden = true;
  for (const id of ["download", "clear"]) element<HTMLButtonElement>(id).disabled = rows.length === 0;
}

function download(): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([toCsv(rows)], { type: "text/csv" }));
  link.download = "results.csv";
  link.click();
  unsaved = false;
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers begin later
}

function showFacts(): void {
  if (classifier === null) return;
  const { card, digest } = classifier.file;
  const { accuracy, operatingPoint: point, preprocess } = card;
  const facts: [string, string][] = [
    [texts.network, `${card.backbone}${card.alpha === null ? "" : ` ${card.alpha}`}, ${card.quantization}`],
    [texts.input, filled(texts.inputOf, { width: preprocess.width, height: preprocess.height })],
    [texts.labels, card.labels.join(", ")],
  ];
  if (accuracy !== null) {
    const format = new Intl.NumberFormat(spoken(), { maximumFractionDigits: 1 });
    const [value, low, high] = [accuracy.value, accuracy.low, accuracy.high].map((share) =>
      format.format(100 * share),
    );
    const { images } = accuracy;
    facts.push([texts.accuracy, filled(texts.accuracyOf, { percent: value, low, high, images })]);
  }
  if (point !== null) {
    const [low, high] = percents(spoken(), point.negativeBelow, point.positiveFrom);
    facts.push([texts.thresholds, filled(texts.thresholdsOf, { label: point.positive, low, high })]);
  }
  if (card.intendedUse) facts.push([texts.intendedUse, card.intendedUse]);
  facts.push([texts.card, card.version], [texts.file, digest]);
  const items = facts.flatMap(([name, value]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, description.textContent] = [name, value];
    return [term, description];
  });
  element("facts").replaceChildren(...items);
}

async function testDevice(): Promise<void> {
  if (classifier === null) return;
  const results = await selfTest(classifier);
  const largest = Math.max(0, ...results.map((result) => result.difference));
  const passed = results.every((result) => result.passed);
  tested = (t) => {
    const format = new Intl.NumberFormat(spoken(), { minimumFractionDigits: 4 });
    const difference = format.format(Number(largest.toFixed(4)));
    const text = passed ? t.selfTestPassed : t.selfTestFailed;
    return filled(results.length === 0 ? t.selfTestNone : text, { difference });
  };
  element("self-test-result").textContent = tested(texts);
}

queue = start();
