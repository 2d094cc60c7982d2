"use strict";
// Choices are kept in this browser under a name of the data's own, and handed on as a CSV.
const { labels, suspects, earlier } = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const [grid, filter, by] = [element("grid"), element("filter"), element("by")];
const KEY = "kit review " + suspects.slice(0, 3).map((one) => one.digest.slice(0, 16)).join(" ");
const EXCLUDE = "exclude";
let choices = {};
const history = [];

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    choices = kept.choices ?? {};
    by.value = kept.by ?? "";
  } catch {
    choices = {}; // a browser without storage, or with something else under this name
  }
}

function store() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ choices, by: by.value }));
  } catch {
    // the choices last as long as the page
  }
}

function text(tag, content, className) {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

function fill(item, one) {
  const choice = choices[one.digest];
  const parts = [];
  if (one.picture) {
    const image = document.createElement("img");
    image.src = "data:image/jpeg;base64," + one.picture;
    image.alt = "";
    image.loading = "lazy";
    parts.push(image);
  }
  const share = (score) => (100 * score).toFixed(0) + " %";
  parts.push(text("div", one.label + " " + share(one.label_score)));
  parts.push(text("div", "rather " + one.suggested + " " + share(one.suggested_score)));
  if (choice !== undefined) {
    const told = choice === EXCLUDE ? "left out" : choice === one.label ? "kept" : "now " + choice;
    parts.push(text("div", told, "choice" + (choice === EXCLUDE ? " exclude" : "")));
  }
  parts.push(text("div", one.path, "path"));
  item.className = choice === undefined ? "" : "done";
  item.setAttribute("aria-label", [...parts].map((part) => part.textContent).filter(Boolean).join(", "));
  item.replaceChildren(...parts);
}

const shows = (one) => {
  const wanted = filter.value;
  if (wanted === "open") return choices[one.digest] === undefined;
  if (wanted.startsWith("=")) return one.label === wanted.slice(1);
  return wanted === "" || one.reason === wanted;
};

function draw() {
  grid.replaceChildren(
    ...suspects.map((one, index) => [one, index]).filter(([one]) => shows(one)).map(([one, index]) => {
      const item = document.createElement("li");
      item.tabIndex = 0;
      item.dataset.index = index;
      fill(item, one);
      return item;
    }),
  );
  count();
}

function count() {
  const decided = suspects.filter((one) => choices[one.digest] !== undefined);
  const changed = decided.filter((one) => choices[one.digest] !== one.label).length;
  element("count").textContent = `${decided.length} decided, ${changed} of them changed`;
}

function choose(item, label) {
  const one = suspects[item.dataset.index];
  history.push([one.digest, choices[one.digest], item.dataset.index]);
  choices[one.digest] = label;
  store();
  fill(item, one);
  count();
  item.nextElementSibling?.focus();
}

function undo() {
  const last = history.pop();
  if (last === undefined) return;
  const [digest, before, index] = last;
  if (before === undefined) delete choices[digest];
  else choices[digest] = before;
  store();
  const item = grid.querySelector(`[data-index="${index}"]`);
  if (item === null) draw();
  else {
    fill(item, suspects[index]);
    count();
    item.focus();
  }
}

function step(item, key) {
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
  const items = [...grid.children];
  items[items.indexOf(item) + steps]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "u") {
    undo();
    return;
  }
  const item = event.target.closest("#grid li") ?? (event.key.startsWith("Arrow") ? grid.firstElementChild : null);
  if (item === null) return;
  const one = suspects[item.dataset.index];
  const number = Number(event.key);
  if (number >= 1 && number <= Math.min(9, labels.length)) choose(item, labels[number - 1]);
  else if (event.key === "Enter") choose(item, one.suggested);
  else if (event.key === "k") choose(item, one.label);
  else if (event.key === "x") choose(item, EXCLUDE);
  else if (event.key.startsWith("Arrow")) {
    if (event.target.closest("#grid li")) step(item, event.key);
    else item.focus();
  } else return;
  event.preventDefault();
});
grid.addEventListener("click", (event) => event.target.closest("li")?.focus());
filter.addEventListener("change", draw);
by.addEventListener("input", store);
element("undo").addEventListener("click", undo);
element("download").addEventListener("click", () => {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const rows = suspects
    .filter((one) => choices[one.digest] !== undefined && choices[one.digest] !== one.label)
    .map((one) => [one.path, one.digest, choices[one.digest], one.label, one.reason, by.value]);
  // What was corrected before stays so, unless it was decided anew here.
  const anew = new Set(rows.map(([, digest]) => digest));
  const kept = Object.entries(earlier)
    .filter(([digest]) => !anew.has(digest))
    .map(([digest, label]) => ["", digest, label, "", "earlier", ""]);
  const lines = [["path", "digest", "label", "was", "reason", "by"], ...kept, ...rows];
  const link = document.createElement("a");
  const content = lines.map((line) => line.map(cell).join(",") + "\n").join("");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
load();
draw();
