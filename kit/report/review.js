"use strict";
// Choices are kept in this browser under a name of the data's own, and handed on as a CSV.
const data = JSON.parse(document.getElementById("data").textContent);
const { labels, parts, reasons, columns, earlier, positions } = data;
const images = data.images.map(([path, digest, label, suggested, labelScore, suggestedScore, why, part]) => ({
  ...{ path, digest, label: labels[label] ?? "", suggested: labels[suggested], labelScore, suggestedScore },
  ...{ reasons: why.map((index) => reasons[index]), part: parts[part] ?? "" },
}));
const UNLABELLED = images.every((one) => one.label === "");
const element = (id) => document.getElementById(id);
const [grid, filter, by] = [element("grid"), element("filter"), element("by")];
const KEY = ["kit review", UNLABELLED, images[0]?.digest, images.at(-1)?.digest, images.length, ...labels].join(" ");
const EXCLUDE = "exclude";
const NEW = "new";
const A_BLOCK = 64;
const A_PAGE = 120;
const places = new Map(); // of each content, which may stand in two classes
for (const [index, one] of images.entries()) places.set(one.digest, [...(places.get(one.digest) ?? []), index]);
const given = labels.length; // further labels are typed here
let choices = {};
let shown = []; // indices of the images that the filters let through; the grid holds the first of them
let held = new Set(); // by the lasso
let last = null; // index of the image that was looked at last
const history = [];

// ---------------------------------------------------------------- pictures and what is kept

const blocks = [...document.querySelectorAll(".pictures")];
const taken = new Map();
function pictureOf(index) {
  const number = Math.floor(index / A_BLOCK);
  if (blocks[number] === undefined) return "";
  if (!taken.has(number)) taken.set(number, blocks[number].textContent.split(" "));
  const picture = taken.get(number)[index % A_BLOCK];
  return picture === "-" ? "" : "data:image/jpeg;base64," + picture;
}

function load() {
  // What was looked at and kept before need not be judged again.
  const [digest, label] = ["digest", "label"].map((name) => columns.indexOf(name));
  const own = new Map(images.map((one) => [one.digest, one.label]));
  const kept = earlier.filter((row) => own.get(row[digest]) === row[label]);
  choices = Object.fromEntries(kept.map((row) => [row[digest], row[label]]));
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    Object.assign(choices, stored.choices ?? {});
    for (const label of stored.typed ?? []) offer(label);
    by.value = stored.by ?? "";
  } catch {
    // a browser without storage, or with something else under this name
  }
}

// A label that the data does not have gets the next number.
function offer(label) {
  if (labels.includes(label)) return;
  const option = made("option", label);
  option.value = labels.push(label) - 1;
  element("give").querySelector(`[value="${EXCLUDE}"]`).before(option);
  const item = made("li", `${labels.length} ${label}`);
  item.prepend(document.createElement("i"));
  element("labels").append(item);
  colourLabels();
}

function colourLabels() {
  for (const [number, mark] of document.querySelectorAll("#labels i").entries()) mark.style.background = colourOf(labels[number]);
}

function store() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ choices, typed: labels.slice(given), by: by.value }));
  } catch {
    element("kept").textContent = "This browser keeps nothing: download your choices before you close the page.";
  }
}

// ---------------------------------------------------------------- the grid

function made(tag, content, className) {
  const one = document.createElement(tag);
  one.textContent = content;
  if (className) one.className = className;
  return one;
}

function pictured(index) {
  const source = pictureOf(index);
  if (!source) return [];
  const image = document.createElement("img");
  image.src = source;
  image.alt = "";
  return [image];
}

const share = (score) => (100 * score).toFixed(0) + " %";

function told(one) {
  const rather = one.label === "" ? "perhaps " : "rather ";
  const lines = one.label === "" ? [] : [one.label + " " + share(one.labelScore)];
  if (one.label === "" || one.suggestedScore > one.labelScore) lines.push(rather + one.suggested + " " + share(one.suggestedScore));
  const others = places.get(one.digest).map((index) => images[index].label).filter((label) => label !== one.label);
  if (others.length) lines.push("also in " + [...new Set(others)].join(", "));
  const odd = one.reasons.filter((name) => !["twice", "label", "doubt"].includes(name));
  return odd.length ? [...lines, odd.join(", ")] : lines;
}

function fill(item, index) {
  const one = images[index];
  const choice = choices[one.digest];
  const lines = told(one).map((line) => made("div", line));
  if (choice !== undefined) {
    const decided = choice === EXCLUDE ? "left out" : choice === one.label ? "kept" : "now " + choice;
    lines.push(made("div", decided, "choice" + (choice === EXCLUDE ? " exclude" : "")));
  }
  lines.push(made("div", one.path, "path"));
  item.className = choice === undefined ? "" : "done";
  item.setAttribute("aria-label", lines.map((line) => line.textContent).join(", "));
  item.replaceChildren(...pictured(index), ...lines);
}

function lets(index) {
  const one = images[index];
  const wanted = filter.value;
  const label = element("label")?.value ?? "";
  const part = element("part")?.value ?? "";
  if (label !== "" && one.label !== labels[label]) return false;
  if (part !== "" && one.part !== parts[part]) return false;
  if (wanted === "all") return true;
  if (wanted === "open") return choices[one.digest] === undefined;
  if (wanted === "lasso") return held.has(index);
  return wanted === "found" ? one.reasons.length > 0 : one.reasons.includes(wanted);
}

function draw() {
  shown = images.map((_, index) => index).filter(lets);
  grid.replaceChildren();
  more();
  count();
  drawMap();
}

function more() {
  const from = grid.children.length;
  grid.append(
    ...shown.slice(from, from + A_PAGE).map((index) => {
      const item = document.createElement("li");
      item.tabIndex = 0;
      item.dataset.index = index;
      fill(item, index);
      return item;
    }),
  );
  element("more").hidden = grid.children.length >= shown.length;
}

function count() {
  const decided = images.filter((one) => choices[one.digest] !== undefined);
  const changed = decided.filter((one) => choices[one.digest] !== one.label).length;
  const done = UNLABELLED ? `${decided.length} decided` : `${decided.length} decided, ${changed} of them changed`;
  element("count").textContent = `${shown.length} shown; ${done}`;
}

// ---------------------------------------------------------------- choices

function refill(digest) {
  for (const index of places.get(digest)) {
    const item = grid.querySelector(`[data-index="${index}"]`);
    if (item !== null) fill(item, index);
  }
}

function choose(item, label) {
  const index = Number(item.dataset.index);
  const one = images[index];
  history.push([one.digest, choices[one.digest], index]);
  choices[one.digest] = label;
  store();
  refill(one.digest);
  count();
  next(item)?.focus();
}

function next(item) {
  if (item.nextElementSibling === null) more();
  return item.nextElementSibling;
}

function undo() {
  const step = history.pop();
  if (step === undefined) return;
  const [digest, before, index] = step;
  if (before === undefined) delete choices[digest];
  else choices[digest] = before;
  store();
  const item = grid.querySelector(`[data-index="${index}"]`);
  if (item === null) draw();
  else {
    refill(digest);
    count();
    item.focus();
  }
}

function step(item, key) {
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  const place = [...grid.children].indexOf(item) + steps;
  if (place >= grid.children.length) more();
  grid.children[place]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || (event.repeat && !event.key.startsWith("Arrow")) || /^(INPUT|SELECT|BUTTON|SUMMARY)$/.test(event.target.tagName)) return;
  if (event.key === "u") {
    undo();
    return;
  }
  const item = event.target.closest("#grid li") ?? (event.key.startsWith("Arrow") ? grid.firstElementChild : null);
  if (item === null) return;
  const one = images[item.dataset.index];
  const number = Number(event.key);
  if (number >= 1 && number <= Math.min(9, labels.length)) choose(item, labels[number - 1]);
  else if (event.key === "Enter" && (UNLABELLED || one.suggestedScore > one.labelScore)) choose(item, one.suggested);
  else if (event.key === "k" && !UNLABELLED) choose(item, one.label);
  else if (event.key === "x") choose(item, EXCLUDE);
  else if (event.key.startsWith("Arrow")) {
    if (event.target.closest("#grid li")) step(item, event.key);
    else item.focus();
  } else return;
  event.preventDefault();
});
grid.addEventListener("click", (event) => event.target.closest("li")?.focus());
grid.addEventListener("focusin", (event) => {
  last = event.target.closest("li")?.dataset.index ?? null;
  drawMap();
});
for (const id of ["filter", "label", "part"]) element(id)?.addEventListener("change", draw);
element("more").addEventListener("click", more);
element("give").addEventListener("change", (event) => {
  const wanted = event.target.value;
  event.target.value = "";
  const item = last === null ? null : grid.querySelector(`[data-index="${last}"]`);
  if (item === null || wanted === "") return;
  let label = wanted === EXCLUDE ? EXCLUDE : labels[wanted];
  if (wanted === NEW) {
    label = (prompt("The label that the image should have:") ?? "").trim().normalize("NFC");
    if (label === EXCLUDE) alert(`No label can be called ${EXCLUDE}, which leaves an image out: press x for that.`);
    if (label === EXCLUDE || label === "") return;
    offer(label);
  }
  choose(item, label);
});
by.addEventListener("input", store);
element("undo").addEventListener("click", undo);

// ---------------------------------------------------------------- what is handed on

function rows() {
  const decided = images.filter((one) => choices[one.digest] !== undefined);
  if (UNLABELLED) {
    const labelled = decided.filter((one) => choices[one.digest] !== EXCLUDE);
    return [["path", "label", "by"], ...labelled.map((one) => [one.path, choices[one.digest], by.value])];
  }
  const before = new Map(earlier.map((row) => [row[columns.indexOf("digest")], row]));
  const found = decided
    .filter((one) => before.get(one.digest)?.[columns.indexOf("label")] !== choices[one.digest])
    .map((one) => [one.path, one.digest, choices[one.digest], one.label, one.reasons.join(" "), by.value]);
  // What was decided before stays so, unless it was decided anew here.
  for (const [, digest] of found) before.delete(digest);
  return [columns, ...before.values(), ...found];
}

element("download").addEventListener("click", () => {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const link = document.createElement("a");
  const content = rows().map((row) => row.map(cell).join(",") + "\n").join("");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = UNLABELLED ? "labels.csv" : "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});

// ---------------------------------------------------------------- the map

const map = element("map");
const view = { scale: 1, x: 0, y: 0 }; // of the map's side; the corner that is shown
let lasso = null; // corners, on the map
let drag = null;
const colourOf = (label) => {
  const number = labels.indexOf(label);
  if (number < 0) return "gray";
  if (labels.length <= 6) return getComputedStyle(document.documentElement).getPropertyValue(`--c${number + 1}`);
  return `hsl(${Math.round((360 * number) / labels.length)} 65% 50%)`;
};

const MARGIN = 10;
const span = () => [(map.clientWidth - 2 * MARGIN) * view.scale, (map.clientHeight - 2 * MARGIN) * view.scale];
const placeOf = ([x, y], [width, height] = span()) => [(x - view.x) * width + MARGIN, (y - view.y) * height + MARGIN];

function pointAt([left, top]) {
  const [width, height] = span();
  return [(left - MARGIN) / width + view.x, (top - MARGIN) / height + view.y];
}

let asked = false;
function drawMap() {
  if (map === null || asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const [width, height] = [map.clientWidth, map.clientHeight];
    if (width === 0) return;
    const ratio = devicePixelRatio;
    [map.width, map.height] = [width * ratio, height * ratio];
    const pen = map.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const byDoubt = element("colour").value === "doubt";
    const colours = Object.fromEntries(["", ...labels].map((label) => [label, colourOf(label)]));
    const visible = new Set(shown);
    const spanned = span();
    const order = images.map((_, index) => index);
    if (byDoubt) order.sort((one, other) => images[other].labelScore - images[one].labelScore);
    for (const index of order) {
      const one = images[index];
      const [x, y] = placeOf(positions[index], spanned);
      if (x < -5 || y < -5 || x > width + 5 || y > height + 5) continue;
      pen.globalAlpha = visible.has(index) ? 0.9 : 0.25;
      pen.fillStyle = byDoubt ? `color-mix(in srgb, ${style.getPropertyValue("--c6")} ${100 * (1 - one.labelScore)}%, ${style.getPropertyValue("--rest")})` : colours[choices[one.digest] ?? one.label] ?? "gray";
      pen.beginPath();
      pen.arc(x, y, images.length > 3000 ? 2.2 : 3.2, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = style.getPropertyValue("--ink");
    if (last !== null) {
      pen.beginPath();
      pen.arc(...placeOf(positions[last]), 7, 0, 7);
      pen.stroke();
    }
    if (lasso !== null) {
      pen.beginPath();
      for (const corner of lasso) pen.lineTo(...placeOf(corner));
      pen.closePath();
      pen.stroke();
    }
  });
}

function isInside([x, y], corners) {
  let inside = false;
  corners.forEach(([x1, y1], number) => {
    const [x2, y2] = corners.at(number - 1);
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}

function nearest(place) {
  let [found, least] = [null, 12 ** 2];
  const spanned = span();
  positions.forEach((position, index) => {
    const [x, y] = placeOf(position, spanned);
    const distance = (x - place[0]) ** 2 + (y - place[1]) ** 2;
    if (distance < least) [found, least] = [index, distance];
  });
  return found;
}

function hold(indices) {
  held = new Set(indices);
  const option = filter.querySelector('[value="lasso"]');
  option.disabled = held.size === 0;
  filter.value = held.size === 0 ? filter.options[0].value : "lasso";
  for (const id of ["label", "part"]) if (element(id)) element(id).value = "";
  draw();
}

function zoom(factor, place) {
  const before = pointAt(place);
  view.scale = Math.min(60, Math.max(1, view.scale * factor));
  const after = pointAt(place);
  view.x += before[0] - after[0];
  view.y += before[1] - after[1];
  drawMap();
}

function point(place) {
  const index = place === null ? null : nearest(place);
  const tip = element("tip");
  tip.hidden = index === null;
  if (index === null) return;
  const one = images[index];
  tip.replaceChildren(...pictured(index), ...[...told(one), one.path].map((line) => made("div", line)));
  tip.style.left = Math.min(place[0] + 14, map.clientWidth - 170) + "px";
  tip.style.top = place[1] + 14 + "px";
}

if (map !== null) {
  const placeIn = (event) => [event.offsetX, event.offsetY];
  const centre = () => [map.clientWidth / 2, map.clientHeight / 2];
  map.addEventListener("wheel", (event) => {
    if (event.deltaY === 0) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, placeIn(event));
  });
  map.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    map.setPointerCapture(event.pointerId);
    drag = { from: placeIn(event), x: view.x, y: view.y, moved: false };
    if (element("lasso").getAttribute("aria-pressed") === "true") lasso = [pointAt(placeIn(event))];
  });
  map.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    const place = placeIn(event);
    if (drag === null) {
      point(place);
      return;
    }
    drag.moved ||= Math.hypot(place[0] - drag.from[0], place[1] - drag.from[1]) > 4;
    if (lasso !== null) lasso.push(pointAt(place));
    else if (drag.moved) {
      const [now, then] = [pointAt(place), pointAt(drag.from)];
      [view.x, view.y] = [view.x + then[0] - now[0], view.y + then[1] - now[1]];
      drag.from = place;
    }
    drawMap();
  });
  map.addEventListener("pointerup", (event) => {
    if (!event.isPrimary || drag === null) return;
    const corners = lasso;
    const moved = drag.moved;
    [drag, lasso] = [null, null];
    if (corners !== null && moved) hold(positions.flatMap((one, index) => (isInside(one, corners) ? [index] : [])));
    else if (corners === null && !moved) {
      const index = nearest(placeIn(event));
      if (index !== null) {
        hold([index]);
        grid.firstElementChild?.focus({ preventScroll: true });
      }
    }
    drawMap();
  });
  map.addEventListener("pointercancel", () => {
    [drag, lasso] = [null, null];
    drawMap();
  });
  map.addEventListener("pointerleave", () => point(null));
  element("lasso").addEventListener("click", (event) => {
    event.target.setAttribute("aria-pressed", event.target.getAttribute("aria-pressed") !== "true");
  });
  element("closer").addEventListener("click", () => zoom(1.5, centre()));
  element("farther").addEventListener("click", () => zoom(1 / 1.5, centre()));
  element("whole").addEventListener("click", () => {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    if (filter.value === "lasso") hold([]);
    drawMap();
  });
  element("colour").addEventListener("change", drawMap);
  element("set").addEventListener("toggle", drawMap);
  addEventListener("resize", drawMap);
}
load();
colourLabels();
draw();
