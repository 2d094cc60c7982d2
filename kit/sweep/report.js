"use strict";
const tips = JSON.parse(document.getElementById("tips").textContent);
const tip = document.getElementById("tip");
const body = document.querySelector("#table tbody");

function show(circle) {
  const number = circle.dataset.row;
  tip.replaceChildren(...tips[number].map((line, index) => {
    const element = document.createElement(index ? "span" : "b");
    element.textContent = line;
    return element;
  }));
  tip.hidden = false;
  const box = circle.getBoundingClientRect();
  const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  tip.style.top = `${box.top - tip.offsetHeight - 8 + window.scrollY}px`;
  mark(number, true);
}

function mark(number, on) {
  for (const element of document.querySelectorAll(`[data-row="${number}"]`)) {
    element.classList.toggle("marked", on);
  }
}

function hide(circle) {
  tip.hidden = true;
  mark(circle.dataset.row, false);
}

for (const circle of document.querySelectorAll(".hit")) {
  circle.setAttribute("tabindex", "0");
  circle.setAttribute("role", "img");
  circle.setAttribute("aria-label", tips[circle.dataset.row].join(", "));
  for (const event of ["pointerenter", "focus"]) circle.addEventListener(event, () => show(circle));
  for (const event of ["pointerleave", "blur"]) circle.addEventListener(event, () => hide(circle));
}
for (const row of body.rows) {
  row.addEventListener("pointerenter", () => mark(row.dataset.row, true));
  row.addEventListener("pointerleave", () => mark(row.dataset.row, false));
}

function sort(heading, column) {
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of document.querySelectorAll("#table th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const numeric = heading.dataset.kind === "number";
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
    return rising ? order : -order;
  });
  body.append(...rows);
}

[...document.querySelectorAll("#table th[data-kind]")].forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => sort(heading, column));
});
