"use strict";

/*
The page works whole without this script. It adds: refreshing in place, links that do not reload, a readout on charts.
There is one way to change the page: fetch an address and carry over what differs, so that focus, scroll, and what is
open stay as they are. An element with `data-keep` belongs to the script and is left alone.
*/

const main = document.querySelector("main");
const controls = document.querySelector("[data-refresh]");
const TIMEOUT = 10000;

/* -- carrying over what differs ------------------------------------------------------------------------------------------- */

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");

function morph(have, want) {
  if (have.nodeName !== want.nodeName || keyOf(have) !== keyOf(want)) {
    have.replaceWith(document.importNode(want, true));
  } else if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.data !== want.data) have.data = want.data;
  } else if (!have.hasAttribute("data-keep")) {
    morphAttributes(have, want);
    morphChildren(have, want);
  }
}

function morphAttributes(have, want) {
  for (const { name, value } of want.attributes) {
    if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  for (const { name } of [...have.attributes]) {
    // The reader opened it.
    const isReaders = name === "open" && have.nodeName === "DETAILS";
    if (!want.hasAttribute(name) && !isReaders) have.removeAttribute(name);
  }
}

function morphChildren(have, want) {
  let place = have.firstChild;
  for (const wanted of [...want.childNodes]) {
    const key = keyOf(wanted);
    const known = key && [...have.children].find((child) => keyOf(child) === key);
    if (known && known !== place) {
      have.insertBefore(known, place);
      place = known;
    }
    if (!place || (!known && keyOf(place))) {
      have.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    const next = place.nextSibling;
    morph(place, wanted);
    place = next;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/* -- refreshing ----------------------------------------------------------------------------------------------------------- */

let timer = 0;
let running = null;
let isPaused = false;

async function load(address) {
  running?.abort();
  const own = (running = new AbortController());
  const limit = setTimeout(() => own.abort(), TIMEOUT);
  try {
    const answer = await fetch(address, { credentials: "same-origin", redirect: "manual", cache: "no-store", signal: own.signal });
    const text = await answer.text();
    if (running === own) show(answer, text);
  } catch {
    if (running === own) tell(controls.dataset.failed);
  } finally {
    clearTimeout(limit);
    if (running === own) {
      running = null;
      plan();
    }
  }
}

function show(answer, text) {
  if (answer.type === "opaqueredirect" || answer.status === 403) return tell(controls.dataset.ended);
  if (!answer.ok) return tell(controls.dataset.failed);
  const fresh = new DOMParser().parseFromString(text, "text/html");
  morph(main, document.adoptNode(fresh.querySelector("main")));
  document.title = fresh.title;
  dress();
  tell("");
}

function tell(sentence) {
  const status = controls.querySelector("[role=status]");
  if (status.textContent !== sentence) status.textContent = sentence;
}

function plan() {
  clearTimeout(timer);
  if (!isPaused && !document.hidden) timer = setTimeout(() => load(location.href), controls.dataset.refresh * 1000);
}

function go(address) {
  history.pushState(null, "", address);
  load(address);
}

function dress() {
  // With the script a choice applies at once.
  for (const button of document.querySelectorAll("[data-without-script]")) button.hidden = true;
}

function followLinks(event) {
  const link = event.target.closest("a[data-live]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.href);
}

function applyForm(event) {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  event.preventDefault();
  const chosen = [...new FormData(form)].filter(([, value]) => value);
  go(`${location.pathname}?${new URLSearchParams(chosen)}`);
}

if (controls) {
  const button = controls.querySelector("button");
  button.textContent = controls.dataset.pause;
  controls.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? controls.dataset.resume : controls.dataset.pause;
    isPaused ? plan() : load(location.href);
  });
  main.addEventListener("click", followLinks);
  main.addEventListener("change", applyForm);
  main.addEventListener("submit", applyForm);
  addEventListener("popstate", () => load(location.href));
  document.addEventListener("visibilitychange", () => (document.hidden || isPaused ? clearTimeout(timer) : load(location.href)));
  dress();
  plan();
}

/* -- explanations: Escape closes them ------------------------------------------------------------------------------------- */

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const hint of document.querySelectorAll(".hint:hover, .hint:focus-within")) hint.dataset.dismissed = "";
});
for (const leaving of ["mouseout", "focusout"]) {
  document.addEventListener(leaving, (event) => {
    const hint = event.target.closest?.(".hint");
    if (hint && !hint.contains(event.relatedTarget)) delete hint.dataset.dismissed;
  });
}

/* -- readout of charts ---------------------------------------------------------------------------------------------------- */

const COLUMNS = { "chart-requests": [1, 2], "chart-errors": [3], "chart-durations": [4, 5] };

function pointAt(svg, event) {
  const rows = document.querySelectorAll("#values tbody tr");
  const { left, right } = svg.dataset;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
  const index = Math.floor(((at - left) / (right - left)) * rows.length);
  if (!rows[index]) return null;
  return { row: rows[index], x: Number(left) + ((index + 0.5) / rows.length) * (right - left) };
}

function read(chart, event) {
  const point = pointAt(chart.querySelector("svg"), event);
  const cursor = chart.querySelector(".cursor");
  cursor.setAttribute("visibility", point ? "visible" : "hidden");
  chart.querySelector(".readout").textContent = point ? wording(chart, point.row) : "";
  if (!point) return;
  cursor.setAttribute("x1", point.x);
  cursor.setAttribute("x2", point.x);
}

function wording(chart, row) {
  const heads = document.querySelectorAll("#values thead th");
  const values = COLUMNS[chart.dataset.key].map((column) => `${heads[column].textContent} ${row.cells[column].textContent}`);
  return [row.cells[0].textContent, ...values].join(" · ");
}

function hide(chart) {
  chart.querySelector(".cursor").setAttribute("visibility", "hidden");
  chart.querySelector(".readout").textContent = "";
}

document.addEventListener("pointermove", (event) => {
  const chosen = event.target.closest?.(".chart");
  for (const chart of document.querySelectorAll(".chart")) chart === chosen ? read(chart, event) : hide(chart);
});

/* -- finding -------------------------------------------------------------------------------------------------------------- */

const box = document.querySelector("[data-find]");

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  if (!box || isTyping || event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  box.focus();
  box.select();
});
