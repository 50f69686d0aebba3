"use strict";
const {nodes, links} = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("picture");
const all = document.getElementById("all");
const groups = [...svg.querySelectorAll(".node")].sort((a, b) => a.dataset.node - b.dataset.node);
const lines = [...svg.querySelectorAll(".link")];
const chosenBox = document.getElementById("chosen");
const hint = chosenBox.innerHTML;
const hover = document.getElementById("hover");
const wanted = document.getElementById("wanted");
const found = document.getElementById("found");

// What belongs to what.
const children = nodes.map(() => []);
nodes.forEach((node, at) => node.parent !== null && children[node.parent].push(at));
const linksOf = nodes.map(() => []);
links.forEach((link, at) => { linksOf[link.source].push(at); linksOf[link.target].push(at); });
const within = at => [at, ...children[at].flatMap(within)];
const above = at => at === null ? [] : [...above(nodes[at].parent), at];
const pathOf = at => above(at).filter(one => nodes[one].kind !== "document").map(one => nodes[one].name).join(", ");
const kindOf = node => node.kind === "entity" ? node.type || "entity without a type" : node.kind;
const titleOf = node => node.kind === "document" ? "Document" : node.name;

// Zoom and movement.
const whole = {width: Number(svg.dataset.width), height: Number(svg.dataset.height)};
let view = {x: 0, y: 0, zoom: 1};
svg.removeAttribute("viewBox");
const show = () => all.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.zoom})`);
function fit() {
  // Above the buttons.
  const width = svg.clientWidth, height = svg.clientHeight - 44;
  const zoom = Math.min(width / whole.width, height / whole.height, 1.4);
  view = {x: (width - whole.width * zoom) / 2, y: (height - whole.height * zoom) / 2, zoom};
  show();
}
function zoomBy(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
  const zoom = Math.min(Math.max(view.zoom * factor, 0.05), 5);
  view = {x: x - (x - view.x) * zoom / view.zoom, y: y - (y - view.y) * zoom / view.zoom, zoom};
  show();
}
function bringIntoView(at) {
  const box = groups[at].getBoundingClientRect(), frame = svg.getBoundingClientRect();
  const inside = box.left > frame.left && box.right < frame.right && box.top > frame.top && box.bottom < frame.bottom;
  if (inside && view.zoom >= 0.6) return;
  if (view.zoom < 0.9) zoomBy(1 / view.zoom);
  const now = groups[at].getBoundingClientRect();
  view.x += frame.left + frame.width / 2 - (now.left + now.right) / 2;
  view.y += frame.top + frame.height / 2 - (now.top + now.bottom) / 2;
  show();
}

// What is lit: one thing with all it belongs to, or what a search found.
function light(on, linksOn) {
  svg.classList.add("focused");
  groups.forEach((group, at) => group.classList.toggle("on", on.has(at)));
  lines.forEach(line => line.classList.toggle("on", linksOn.has(Number(line.dataset.link))));
}
function unlight() {
  svg.classList.remove("focused");
  document.getElementById("names").replaceChildren();
}
function lightAround(at) {
  const inside = new Set(within(at)), on = new Set(above(at).concat(...inside)), linksOn = new Set();
  inside.forEach(one => linksOf[one].forEach(link => {
    linksOn.add(link);
    [links[link].source, links[link].target].forEach(end => above(end).forEach(one => on.add(one)));
  }));
  light(on, linksOn);
  nameRelations([...linksOn].filter(link => links[link].name));
}
function nameRelations(relations) {
  document.getElementById("names").replaceChildren(...relations.slice(0, 40).map(at => {
    const line = lines.find(one => Number(one.dataset.link) === at);
    const middle = line.getPointAtLength(line.getTotalLength() / 2);
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    text.setAttribute("x", middle.x);
    text.setAttribute("y", middle.y);
    text.textContent = links[at].name;
    return text;
  }));
}

// One thing is chosen.
let chosen = null;
function choose(at, move = false) {
  if (chosen !== null) groups[chosen].classList.remove("chosen");
  chosen = at;
  if (at === null) {
    unlight();
    chosenBox.innerHTML = hint;
    return;
  }
  groups[at].classList.add("chosen");
  lightAround(at);
  tell(at);
  if (move) bringIntoView(at);
}
function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}
function goTo(at, text) {
  const button = element("button", "", text);
  button.type = "button";
  button.addEventListener("click", () => choose(at, true));
  return button;
}
function list(title, items) {
  return items.length ? [element("h2", "", title), element("ul", "", ...items.map(item => element("li", "", ...item)))] : [];
}
function tell(at) {
  const node = nodes[at], related = linksOf[at].map(link => links[link]);
  const verb = text => element("span", "verb", text);
  const named = (link, end) => [goTo(end, link.added ? pathOf(end) : `${pathOf(end)} (known before)`)];
  const parts = [
    element("h3", "", titleOf(node)),
    element("p", "", element("span", "kind", kindOf(node)), " ",
      element("span", node.added ? "badge added" : "badge", node.added ? "added" : "there before")),
  ];
  if (node.note) parts.push(element("p", "", node.kind === "turn" ? `${node.note} UTC` : node.note));
  if (node.kind === "document") parts.push(element("p", "hint", node.name));
  if (node.parent !== null) parts.push(...list("Of", [[goTo(node.parent, pathOf(node.parent))]]));
  parts.push(
    ...list("Named in", related.filter(one => !one.name && one.target === at).map(one => named(one, one.source))),
    ...list("Relations", related.filter(one => one.name).map(one => one.source === at
      ? [verb(one.name), goTo(one.target, nodes[one.target].name)]
      : [goTo(one.source, nodes[one.source].name), verb(one.name)])),
  );
  const ends = within(at).flatMap(one => linksOf[one].map(link => links[link]).filter(one => !one.name).map(one => one.target));
  if (node.kind !== "entity")
    parts.push(...list("Names", [...new Set(ends)].map(end => [goTo(end, nodes[end].name)])));
  chosenBox.replaceChildren(...parts);
}

// What the pointer does.
let grip = null, moved = false;
svg.addEventListener("pointerdown", event => {
  grip = {x: event.clientX - view.x, y: event.clientY - view.y, fromX: event.clientX, fromY: event.clientY};
  moved = false;
});
svg.addEventListener("pointermove", event => {
  if (grip && Math.hypot(event.clientX - grip.fromX, event.clientY - grip.fromY) > 4) {
    moved = true;
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("moving");
  }
  if (grip && moved) {
    view.x = event.clientX - grip.x;
    view.y = event.clientY - grip.y;
    hover.hidden = true;
    show();
  }
});
["pointerup", "pointercancel"].forEach(name => svg.addEventListener(name, () => {
  grip = null;
  svg.classList.remove("moving");
}));
svg.addEventListener("click", event => {
  const group = event.target.closest(".node");
  if (!moved) choose(group ? Number(group.dataset.node) : null);
});
svg.addEventListener("wheel", event => {
  event.preventDefault();
  const frame = svg.getBoundingClientRect();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - frame.left, event.clientY - frame.top);
}, {passive: false});
svg.addEventListener("mouseover", event => {
  const group = event.target.closest(".node"), line = event.target.closest(".link");
  hover.hidden = !group && !line;
  if (group) {
    const node = nodes[group.dataset.node];
    const facts = [kindOf(node), node.added ? "added by this run" : "there before", node.note];
    hover.replaceChildren(element("b", "", titleOf(node)), ...facts.filter(Boolean).map(fact => element("span", "", fact)));
    if (chosen === null && !wanted.value) lightAround(Number(group.dataset.node));
  } else if (line) {
    const link = links[line.dataset.link];
    hover.replaceChildren(element("b", "", `${nodes[link.source].name} → ${nodes[link.target].name}`),
      element("span", "", link.name || "names"));
  }
});
svg.addEventListener("mouseout", () => {
  hover.hidden = true;
  if (chosen === null && !wanted.value) unlight();
});
svg.addEventListener("mousemove", event => {
  if (hover.hidden) return;
  const frame = svg.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
  hover.style.left = `${Math.max(0, Math.min(x + 14, frame.width - hover.offsetWidth - 8))}px`;
  hover.style.top = `${Math.max(0, y + 18 + hover.offsetHeight > frame.height ? y - hover.offsetHeight - 10 : y + 18)}px`;
});

// Search, and types.
let matches = [], match = -1;
const types = [...document.querySelectorAll(".type")];
function search(test) {
  types.forEach(type => type.setAttribute("aria-pressed", "false"));
  choose(null);
  matches = test ? nodes.map((node, at) => at).filter(at => test(nodes[at])) : [];
  match = -1;
  found.textContent = test ? String(matches.length) : "";
  if (test) light(new Set(matches.flatMap(at => [...above(at), ...within(at)])), new Set());
}
wanted.addEventListener("input", () => {
  const text = wanted.value.trim().toLowerCase();
  search(text && (node => `${node.name} ${node.type} ${node.kind === "turn" ? node.note : ""}`.toLowerCase().includes(text)));
});
document.getElementById("search").addEventListener("submit", event => {
  event.preventDefault();
  if (!matches.length) return;
  match = (match + 1) % matches.length;
  choose(matches[match], true);
  found.textContent = `${match + 1} of ${matches.length}`;
});
types.forEach(type => type.addEventListener("click", () => {
  const pressed = type.getAttribute("aria-pressed") === "true";
  wanted.value = "";
  search(!pressed && (node => node.kind === "entity" && node.type === type.dataset.type));
  type.setAttribute("aria-pressed", String(!pressed));
}));
document.getElementById("only-added").addEventListener("change", event =>
  svg.classList.toggle("only-added", event.target.checked));

// Keys.
document.addEventListener("keydown", event => {
  if (event.key === "Escape") {
    wanted.value = "";
    search(null);
  } else if (event.target.closest(".node") && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    choose(Number(event.target.closest(".node").dataset.node));
  } else if (event.target !== wanted && !event.ctrlKey && !event.metaKey) {
    if (event.key === "+") zoomBy(1.25);
    if (event.key === "-") zoomBy(0.8);
    if (event.key === "0") fit();
    if (event.key === "/") { event.preventDefault(); wanted.focus(); }
  }
});
document.getElementById("in").addEventListener("click", () => zoomBy(1.25));
document.getElementById("out").addEventListener("click", () => zoomBy(0.8));
document.getElementById("fit").addEventListener("click", fit);
fit();
