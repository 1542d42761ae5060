// One case, opened in place: its image and mask, the tools, and the decision.
"use strict";

const SIZES = [1, 2, 3, 5, 8, 12, 18, 27, 40, 60];
const WAY_OF_TOOL = { look: "Look", brush: "Brush", eraser: "Eraser", fill: "Fill" };

class Editor {
  constructor(decisions, on) {
    this.decisions = decisions;
    this.on = on; // {decided(name)}
    this.tool = "look";
    this.size = 3;
    this.label = 1;
    this.opacity = 0.4;
    this.visible = true;
    this.host = document.getElementById("viewer");
    this.part = Object.fromEntries(Array.from(document.querySelectorAll("#case [id]"), (each) => [each.id, each]));
    this.ticket = 0; // which opening is the newest
    this.#listen();
  }

  get isOpen() {
    return Boolean(this.each);
  }

  async open(each) {
    await this.close();
    const ticket = ++this.ticket;
    this.each = each;
    this.history = new History();
    this.since = performance.now();
    this.#describeCase();
    this.#tell("");
    if (!each.piece) {
      this.#showPicture(each);
      return;
    }
    this.#setReady(false);
    try {
      await this.#show(each, ticket);
    } catch (error) {
      if (ticket === this.ticket) this.#tell(`This case can't be shown: ${error.message}.`);
    }
  }

  async #show(each, ticket) {
    this.#tell("Loading …");
    const facts = await pieces.part(each.piece, 0);
    const parts = [];
    for (let n = 1; n <= each.parts; n++) {
      parts.push(Bytes.fromBase64(await pieces.part(each.piece, n)));
      if (ticket !== this.ticket) return;
      if (each.parts > 2) this.#tell(`Loading … ${Math.round((100 * n) / each.parts)} %`);
    }
    const isVolume = facts.kind === "volume";
    const hasCard = isVolume && graphics() === "hardware";
    const voxels = isVolume ? await Bytes.inflate(parts, "deflate") : Bytes.join(parts);
    const labels = await this.#labels(each, facts);
    if (ticket !== this.ticket) return;
    this.facts = facts;
    this.startedEdited = Boolean(this.decisions.get(each.name).edited);
    await this.#build(isVolume ? (hasCard ? NiivueView : PlanesView) : PictureView, voxels, labels);
    if (ticket !== this.ticket) return;
    if (hasCard) this.view.setLayout("all");
    this.#prepare(each, facts, isVolume);
  }

  async #build(View, voxels, labels) {
    if (View === NiivueView) await pieces.script("niivue.umd.js");
    this.view = new View(this.host, {
      moved: () => this.#describeCursor(),
      windowed: (centre, width) => this.#showWindow(centre, width),
    });
    await this.view.open(this.facts, voxels, labels, (value) => this.colour(value), this.#window(0));
  }

  // From slices to NiiVue, with what was painted so far.
  async #toNiivue() {
    const { values, map, cursor } = this.view;
    this.#tell("Loading 3D …");
    await new Promise((resolve) => setTimeout(resolve, 50)); // so that the line is seen
    this.view.close();
    await this.#build(NiivueView, new Uint8Array(values.buffer), map.data);
    this.view.moveTo(cursor);
    this.#prepare(this.each, this.facts, true);
  }

  #prepare(each, facts, isVolume) {
    this.#setReady(true);
    this.host.parentElement.classList.toggle("fixed", Boolean(this.fixed));
    this.view.canvas.setAttribute("aria-label", `${isVolume ? "Volume" : "Picture"} of ${each.name} with its mask. ` +
      "The arrow keys move the cursor; the question mark lists all keys.");
    fillSelect(this.part.layout, Object.entries(this.view.constructor.layouts));
    fillSelect(this.part.window, [...each.windows.map((one, n) => [n, windowText(one)]), ["full", "Full range"]]);
    this.part["volume-tools"].hidden = !isVolume;
    if (isVolume) {
      this.part.window.value = each.windows.length ? 0 : "full";
      this.#showWindow(...this.#window(0));
      this.part.layout.value = this.view.layout;
    }
    this.view.setOpacity(this.visible ? this.opacity : 0);
    this.setTool(this.tool);
    this.#describeCursor();
    this.#tell(this.fixed ? `The mask can't be edited. ${this.fixed}` : "");
    this.view.canvas.focus({ preventScroll: true });
  }

  async #labels(each, facts) {
    const { edited } = this.decisions.get(each.name);
    if (!edited) return Bytes.inflate([Bytes.fromBase64(facts.mask)], "deflate");
    const [columns, rows] = facts.dims;
    return facts.kind === "volume" ? Nifti.decode(edited, facts.dims) : Png.decode(edited, columns, rows);
  }

  // Keeps what was drawn and counted, and gives the memory back.
  async close() {
    if (!this.each) return;
    await this.keep();
    this.ticket++;
    this.view?.close();
    this.host.replaceChildren();
    this.each = this.view = this.facts = null;
  }

  // --- the decision ---

  // Puts the time, and the mask where it was changed, among the decisions.
  async keep() {
    const name = this.each?.name;
    if (!name) return;
    this.#count();
    if (!this.changed || !this.view?.map) return;
    this.changed = false;
    const { data } = this.view.map;
    const original = await Bytes.inflate([Bytes.fromBase64(this.facts.mask)], "deflate");
    if (same(data, original)) {
      const { decision } = this.decisions.get(name);
      this.decisions.set(name, { edited: null, decision: decision === "edit" ? "" : decision });
    } else {
      const [columns, rows] = this.facts.dims;
      const edited = await (this.facts.kind === "volume"
        ? Nifti.encode(Bytes.fromBase64(this.facts.header), data) : Png.encode(data, columns, rows));
      const { decision } = this.decisions.get(name);
      this.decisions.set(name, { edited, decision: decision === "reject" ? "reject" : "edit" });
    }
    this.#describeDecision();
    this.on.decided(name);
  }

  async decide(decision) {
    const { each } = this;
    if (!each?.mask) return;
    await this.keep();
    const entry = this.decisions.get(each.name);
    if (decision === "accept" && entry.edited) decision = "edit";
    this.decisions.set(each.name, { decision: entry.decision === decision && decision !== "edit" ? "" : decision });
    this.#describeDecision();
    this.on.decided(each.name);
  }

  comment(text) {
    this.decisions.set(this.each.name, { comment: text });
    this.on.decided(this.each.name);
  }

  async discard() {
    if (!this.view?.map) return;
    this.view.map.data.set(await Bytes.inflate([Bytes.fromBase64(this.facts.mask)], "deflate"));
    this.history = new History();
    this.changed = true;
    this.view.redraw();
    await this.keep();
    this.#tell("The mask is again as it was segmented.");
  }

  #count() {
    if (!document.hidden) this.decisions.addSeconds(this.each.name, (performance.now() - this.since) / 1000);
    this.since = performance.now();
  }

  // --- tools ---

  get fixed() {
    return this.each?.fixed || this.facts?.fixed || "";
  }

  setTool(tool) {
    this.tool = this.fixed ? "look" : tool;
    for (const name of Object.keys(WAY_OF_TOOL)) {
      this.part[`tool-${name}`].setAttribute("aria-pressed", String(name === this.tool));
    }
    this.host.dataset.tool = this.tool;
  }

  setSize(step) {
    const at = SIZES.indexOf(this.size) + step;
    this.size = SIZES[Math.min(Math.max(at, 0), SIZES.length - 1)];
    this.part.size.value = this.size;
  }

  setLabel(value) {
    if (!this.each.labels.some((label) => label.value === value)) return;
    this.label = value;
    this.part.label.value = value;
    this.part.swatch.style.background = this.each.labels.find((label) => label.value === value).colour;
  }

  setOpacity(opacity) {
    this.opacity = Math.min(Math.max(opacity, 0.05), 1);
    this.part.opacity.value = this.opacity;
    this.showMask(true);
  }

  showMask(visible) {
    this.visible = visible;
    this.part.visible.checked = visible;
    this.view?.setOpacity(visible ? this.opacity : 0);
  }

  setWindow(choice) {
    this.part.window.value = choice;
    this.view.setWindow(...this.#window(choice));
    this.#showWindow(...this.#window(choice));
  }

  // [centre, width] of a preset, or of the values of the volume.
  #window(choice) {
    const [low, high] = this.facts.range || [0, 255];
    const { centre, width } = this.each.windows[choice] || { centre: (low + high) / 2, width: high - low || 1 };
    return [centre, width];
  }

  setCustomWindow() {
    const [centre, width] = [this.part.centre.valueAsNumber, this.part.width.valueAsNumber];
    if (Number.isFinite(centre) && width > 0) this.view.setWindow(centre, width);
  }

  nextWindow() {
    if (this.each.windows.length) this.setWindow(((Number(this.part.window.value) || 0) + 1) % this.each.windows.length);
  }

  nextLayout() {
    const names = Object.keys(this.view instanceof PlanesView ? PLANE_LAYOUTS : this.view.constructor.layouts);
    if (names.length) this.setLayout(names[(names.indexOf(this.part.layout.value) + 1) % names.length]);
  }

  async setLayout(layout) {
    if (this.view instanceof PlanesView && !(layout in PLANE_LAYOUTS)) await this.#toNiivue();
    this.part.layout.value = layout;
    this.view.setLayout(layout);
  }

  nextPlane() {
    const names = Object.keys(PLANES);
    const plane = names[(names.indexOf(this.view.plane) + 1) % names.length];
    this.view.setPlane(plane);
    if (this.part.layout.value in PLANES) this.part.layout.value = plane;
  }

  undo() {
    this.#after(this.history.undo(this.view.map));
  }

  redo() {
    this.#after(this.history.redo(this.view.map));
  }

  #after(changes) {
    if (!changes) return;
    this.view.redraw(changes);
    this.#touched();
  }

  // The tool at the cursor, as the space bar does it.
  applyAtCursor() {
    if (this.tool === "look" || this.fixed) return;
    this.#begin(this.view.cursor, this.view.axes);
    this.#end();
  }

  #begin(voxel, axes) {
    this.stroke = { changes: [], axes, last: voxel };
    this.#paint(voxel);
  }

  #paint(voxel) {
    const { map } = this.view;
    const { axes, last, changes } = this.stroke;
    const value = this.tool === "eraser" ? 0 : this.label;
    let change;
    if (this.tool === "fill") {
      if (changes.length) return;
      change = Painting.fill(map, voxel, axes, value);
      if (!change) {
        this.#tell("The background here is open to the border: close the outline with the brush first.");
        return;
      }
    } else change = Painting.line(map, last, voxel, axes, this.size, value);
    this.stroke.last = voxel;
    changes.push(change);
    this.view.redraw([change]);
  }

  #end() {
    const { changes } = this.stroke;
    this.stroke = null;
    this.history.add(changes);
    if (changes.some((change) => change.at.length)) this.#touched();
  }

  #touched() {
    this.changed = true;
    const { decision } = this.decisions.get(this.each.name);
    // The mask itself is packed when it is needed: on leaving, deciding and saving.
    this.decisions.dirty = true;
    if (decision !== "edit") this.part["is-edit"].textContent = "Changed: it is kept as an edit.";
    this.#describeCursor();
  }

  #listen() {
    const { host } = this;
    const paints = () => this.view?.map && this.tool !== "look";
    const place = (event) => {
      const box = this.view.canvas.getBoundingClientRect();
      return this.view.at(event.clientX - box.left, event.clientY - box.top);
    };
    host.addEventListener("pointerdown", (event) => {
      if (!this.view?.map) return;
      const found = place(event);
      if (event.button === 0 && found && paints()) {
        host.setPointerCapture(event.pointerId);
        if (found.plane in PLANES) this.view.plane = found.plane;
        this.view.moveTo(found.voxel);
        this.#begin(found.voxel, this.view.axes);
      } else if (this.facts.kind === "picture") this.drag = { x: event.clientX, y: event.clientY, moved: false };
      else if (found?.plane in PLANES) this.view.plane = found.plane;
    }, true);
    host.addEventListener("pointermove", (event) => {
      if (this.stroke) {
        const found = place(event);
        if (found && (found.plane === this.view.plane)) this.#paint(found.voxel);
      } else if (this.drag) this.#pan(event);
    }, true);
    const end = (event) => {
      if (this.stroke) this.#end();
      if (this.drag && !this.drag.moved && event.type === "pointerup") {
        const found = place(event);
        if (found) this.view.moveTo(found.voxel);
      }
      this.drag = null;
    };
    host.addEventListener("pointerup", end, true);
    host.addEventListener("pointercancel", end, true);
    // NiiVue must not see the mouse while something is painted.
    for (const kind of ["mousedown", "mousemove", "mouseup", "touchstart", "touchmove", "touchend"]) {
      host.addEventListener(kind, (event) => {
        if (this.stroke || (kind === "mousedown" && event.button === 0 && paints() && place(event))) {
          event.stopPropagation();
          this.view.canvas.focus({ preventScroll: true });
        }
      }, true);
    }
    document.addEventListener("visibilitychange", () => {
      if (!this.each) return;
      if (document.hidden) this.decisions.addSeconds(this.each.name, (performance.now() - this.since) / 1000);
      this.since = performance.now();
    });
  }

  #pan(event) {
    const [right, down] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
    if (!this.drag.moved && Math.hypot(right, down) < 4) return;
    this.drag = { x: event.clientX, y: event.clientY, moved: true };
    this.view.pan(right, down);
  }

  // --- words ---

  colour(value) {
    const found = this.each.labels.find((label) => label.value === value);
    const hex = found ? found.colour : "#ff5000";
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }

  #setReady(ready) {
    this.part.tools.hidden = !ready;
    this.part.position.hidden = !ready;
  }

  #tell(text) {
    this.part.message.textContent = text;
  }

  #showPicture(each) {
    this.#setReady(false);
    const text = each.problem || "There is no image.";
    this.#tell(text);
    if (each.overlay) this.host.replaceChildren(element("img", { src: each.overlay, alt: `${each.name} with its mask` }));
    else this.host.replaceChildren(element("p", { textContent: text }));
  }

  #showWindow(centre, width) {
    this.part.centre.value = Math.round(centre);
    this.part.width.value = Math.round(width);
  }

  #describeCursor() {
    if (!this.view?.map) return;
    const { voxel, value, label } = this.view.describe();
    const name = this.each.labels.find((one) => one.value === label)?.name || (label ? `label ${label}` : "background");
    const isVolume = this.facts.kind === "volume";
    const unit = this.each.windows[0]?.unit || "";
    this.part.position.textContent = [
      isVolume ? `Voxel ${voxel.join(", ")}` : `Row ${voxel[0]}, column ${voxel[1]}`,
      value === null ? "" : `value ${Math.round(value * 100) / 100} ${unit}`.trim(),
      name,
      isVolume ? `keys act in the ${this.view.plane} plane` : "",
    ].filter(Boolean).join(" · ");
  }

  #describeCase() {
    const { each, part } = this;
    part["case-title"].textContent = each.name;
    part["case-task"].textContent = each.task;
    part.verdict.replaceChildren(element("span", { className: "badge", textContent: VERDICTS[each.verdict] || each.verdict }));
    part.verdict.className = each.verdict;
    part.predicted.replaceChildren(...predictedLines(each));
    part.concerns.replaceChildren(...concerns(each).map((text) => element("li", { textContent: text })));
    part["no-concerns"].hidden = concerns(each).length > 0;
    part.report.hidden = !each.report;
    part.report.href = each.report || "#";
    part.facts.replaceChildren(...factRows(each.facts.rows));
    part.origin.replaceChildren(...factRows(each.facts.origin));
    part.label.replaceChildren(...each.labels.map((label) => new Option(label.name, label.value)));
    if (each.labels.length) this.setLabel(each.labels.some((one) => one.value === this.label) ? this.label : each.labels[0].value);
    part.decision.hidden = !each.mask;
    part["no-decision"].hidden = Boolean(each.mask);
    part.reviewed.textContent = each.reviewed ? `A review before this one: ${each.reviewed}.` : "";
    part.comment.value = this.decisions.get(each.name).comment;
    this.changed = false;
    this.#describeDecision();
  }

  #describeDecision() {
    const { decision, edited } = this.decisions.get(this.each.name);
    this.part.accept.textContent = edited ? "Accept the edited mask" : "Accept";
    this.part.accept.setAttribute("aria-pressed", String(decision === "accept" || decision === "edit"));
    this.part.reject.setAttribute("aria-pressed", String(decision === "reject"));
    this.part["is-edit"].textContent = edited
      ? (decision === "reject" ? "The mask was edited, but a rejected case is saved without it." : "The mask was edited.")
      : "";
    this.part.discard.hidden = !edited;
  }
}

// The predicted Dice of each label or why there is none, and how unusual the image is.
function predictedLines(each) {
  const lines = Object.entries(each.predicted?.labels ?? {}).map(
    ([name, { text, range }]) => `${name}: predicted Dice ${text || "not known"}${range && ` (90% interval ${range})`}`,
  );
  if (!lines.length && each.unpredicted) lines.push(`No predicted Dice: ${each.unpredicted}`);
  if (each.novelty !== null) {
    lines.push(`The image is farther from the training images than ${each.unusual} of these are themselves`);
  }
  return lines.map((textContent) => element("li", { textContent }));
}

function factRows(rows) {
  return rows.map(([name, text]) => {
    const row = element("tr", {});
    row.append(element("th", { scope: "row", textContent: name }), element("td", { textContent: text }));
    return row;
  });
}

function windowText({ name, centre, width, unit }) {
  return `${name} (${centre}/${width}${unit ? ` ${unit}` : ""})`;
}

function fillSelect(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

function same(first, second) {
  if (first.length !== second.length) return false;
  for (let n = 0; n < first.length; n++) if (first[n] !== second[n]) return false;
  return true;
}
