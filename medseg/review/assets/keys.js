// All keys of the page; the help panel is made of this table.
"use strict";

const KEYS = [
  ["The list", [
    [["/"], "search"],
    [["Tab", "Enter"], "go to a case, open it"],
  ]],
  ["The case", [
    [["n", "p"], "next and previous case", (app, key) => app.neighbour(key === "n" ? 1 : -1)],
    [["a"], "accept", (app) => app.editor.decide("accept")],
    [["r"], "reject", (app) => app.editor.decide("reject")],
    [["m"], "write a comment", () => document.getElementById("comment").focus()],
    [["Escape"], "back to the list", (app) => app.back()],
  ]],
  ["Looking", [
    [["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], "move the cursor in the active plane (10 with Shift)", move],
    [["PageUp", "PageDown"], "next and previous slice (10 with Shift)", (app, key, event) =>
      app.view.step(0, 0, (key === "PageUp" ? 1 : -1) * (event.shiftKey ? 10 : 1))],
    [["Home", "End"], "first and last slice", (app, key) => app.view.toEnd(key === "End")],
    [["x"], "make the next plane the active one", (app) => app.isVolume && app.editor.nextPlane()],
    [["v"], "next view: three planes, one plane, 3D", (app) => app.editor.nextLayout()],
    [["w"], "next window", (app) => app.isVolume && app.editor.nextWindow()],
    [["+", "-", "0"], "enlarge, reduce, fit", zoom],
    [["o"], "mask on or off", (app) => app.editor.showMask(!app.editor.visible)],
    [[",", "."], "mask fainter, stronger", (app, key) =>
      app.editor.setOpacity(app.editor.opacity + (key === "." ? 0.1 : -0.1))],
  ]],
  ["Drawing", [
    [["l", "b", "e", "f"], "look, brush, eraser, fill", (app, key) =>
      app.editor.setTool({ l: "look", b: "brush", e: "eraser", f: "fill" }[key])],
    [["[", "]"], "smaller, larger brush", (app, key) => app.editor.setSize(key === "]" ? 1 : -1)],
    [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "choose the label", (app, key) => app.editor.setLabel(Number(key))],
    [[" "], "use the tool at the cursor", (app) => app.editor.applyAtCursor()],
    [["z", "y"], "undo, redo (with Ctrl, too)", (app, key) => (key === "z" ? app.editor.undo() : app.editor.redo())],
  ]],
  ["Everywhere", [
    [["Ctrl+s"], "save the decisions"],
    [["?"], "these keys"],
  ]],
];
const KEY_NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
const NEEDS_VIEW = new Set(["Looking", "Drawing"]);

function move(app, key, event) {
  const by = event.shiftKey ? 10 : 1;
  const [right, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  app.view.step(right * by, up * by, 0);
}

function zoom(app, key) {
  if (key === "0") app.view.fit();
  else app.view.zoom(key === "+" ? 1.25 : 0.8);
}

function onKey(app, event) {
  const typing = ["TEXTAREA", "SELECT"].includes(event.target.tagName) ||
    (event.target.tagName === "INPUT" && event.target.type !== "checkbox");
  const control = event.ctrlKey || event.metaKey;
  if (control && event.key.toLowerCase() === "s") return taken(event, app.save());
  if (document.querySelector("dialog[open]") || event.altKey) return;
  if (event.key === "Escape" && typing && app.editor.isOpen) {
    document.querySelector("#viewer canvas")?.focus();
    return taken(event);
  }
  if (typing) return;
  const undoing = control && ["z", "y"].includes(event.key.toLowerCase());
  if (control && !undoing) return;
  if (event.key === "?") return taken(event, document.getElementById("help").showModal());
  if (!app.editor.isOpen) {
    if (event.key === "/") taken(event, document.getElementById("filter-text").focus());
    return;
  }
  // A button that has the focus is pressed by the space bar.
  if (event.key === " " && ["BUTTON", "A", "INPUT", "SUMMARY"].includes(event.target.tagName)) return;
  for (const [title, keys] of KEYS) {
    const found = keys.find(([names, , action]) => action && names.includes(keyOf(event)));
    if (!found) continue;
    if (!NEEDS_VIEW.has(title) || app.view?.map) found[2](app, keyOf(event), event);
    return taken(event);
  }
}

function keyOf(event) {
  if (event.key === "=") return "+"; // the same key without Shift
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

// NiiVue has keys of its own, which must not see these.
function taken(event) {
  event.preventDefault();
  event.stopPropagation();
}

function keyTable() {
  return KEYS.map(([title, keys]) => {
    const table = element("table", {});
    table.append(element("caption", { textContent: title }));
    for (const [names, text] of keys) {
      const row = element("tr", {});
      const cell = element("th", { scope: "row" });
      const shown = names.length > 5 ? [names[0], "…", names.at(-1)] : names;
      for (const name of shown) cell.append(element("kbd", { textContent: KEY_NAMES[name] || name }), " ");
      row.append(cell, element("td", { textContent: text }));
      table.append(row);
    }
    return table;
  });
}
