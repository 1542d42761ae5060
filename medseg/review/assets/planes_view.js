// A volume as slices on a plain canvas: where the browser has no graphics card for NiiVue. No 3D.
"use strict";

const LETTERS = { axial: ["R", "L", "A", "P"], coronal: ["R", "L", "S", "I"], sagittal: ["A", "P", "S", "I"] };
const GAP = 4; // px between the planes

class PlanesView extends Volume {
  static get layouts() {
    return graphics() === "none" ? PLANE_LAYOUTS
      : { ...PLANE_LAYOUTS, all: "Three planes and 3D (slow here)", render: "3D (slow here)" };
  }

  constructor(host, on) {
    super(host, on);
    this.opacity = 0.4;
    this.enlarged = 1;
    this.resized = new ResizeObserver(() => this.#resize());
    this.resized.observe(host);
    const listen = (kind, action) => this.canvas.addEventListener(kind, action, { passive: false });
    listen("wheel", (event) => this.#wheel(event));
    listen("pointerdown", (event) => this.#down(event));
    listen("pointermove", (event) => this.#drag(event));
    for (const kind of ["pointerup", "pointercancel"]) listen(kind, () => { this.dragged = null; });
    listen("contextmenu", (event) => event.preventDefault());
  }

  async open(facts, voxels, labels, colours, [centre, width]) {
    this.values = new TYPES[facts.type](voxels.buffer);
    this.fileDims = facts.dims;
    this.map = mapOf(Bytes.fromBase64(facts.header), facts.dims, labels);
    this.colours = colours;
    this.window = { centre, width };
    this.cursor = middleOf(this.map) || this.map.dims.map((n) => n >> 1);
    this.middle = this.cursor;
    this.slice = document.createElement("canvas");
    this.#resize();
  }

  close() {
    this.resized.disconnect();
    this.host.replaceChildren();
  }

  moveTo(voxel) {
    this.cursor = this.inside(voxel);
    const hidden = this.tiles?.some((tile) => !this.#shows(tile));
    if (hidden) this.middle = this.cursor;
    this.redraw();
    this.on.moved();
  }

  at(x, y) {
    const tile = this.#tileAt(x, y);
    if (!tile) return null;
    const place = this.#place(tile);
    const voxel = this.cursor.slice();
    const [first, second] = PLANES[tile.plane];
    voxel[first] = this.map.dims[first] - 1 - Math.floor((x - place.left) / place.columnPx);
    voxel[second] = this.map.dims[second] - 1 - Math.floor((y - place.top) / place.rowPx);
    return Painting.inside(this.map, voxel) ? { voxel, plane: tile.plane } : null;
  }

  redraw() {
    if (this.asked || !this.map) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.#draw();
    });
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.redraw();
  }

  setWindow(centre, width) {
    this.window = { centre, width };
    this.redraw();
  }

  setLayout(layout) {
    this.layout = layout;
    if (layout in PLANES) this.plane = layout;
    this.#resize();
    this.on.moved();
  }

  setPlane(plane) {
    if (this.layout in PLANES) this.setLayout(plane);
    this.plane = plane;
    this.redraw();
    this.on.moved();
  }

  zoom(factor) {
    this.enlarged = Math.min(Math.max(this.enlarged * factor, 1), MOST_ZOOM);
    this.middle = this.cursor;
    this.redraw();
  }

  fit() {
    this.zoom(1 / MOST_ZOOM);
  }

  // --- where things are on the canvas, in CSS px ---

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.host.clientWidth * ratio);
    this.canvas.height = Math.round(this.host.clientHeight * ratio);
    if (!this.map) return;
    const sizes = this.map.dims.map((n, axis) => n * this.map.spacing[axis]);
    const names = this.layout in PLANES ? [this.layout] : PLANE_NAMES;
    this.tiles = arranged(names, sizes, this.host.clientWidth, this.host.clientHeight);
    this.redraw();
  }

  #tileAt(x, y) {
    return this.tiles.find((tile) => x >= tile.left && x < tile.left + tile.width &&
      y >= tile.top && y < tile.top + tile.height);
  }

  // Where the slice of a tile begins, and the size of a voxel on it. Enlarged, `middle` stays where it was.
  #place(tile) {
    const [first, second] = PLANES[tile.plane];
    const { dims, spacing } = this.map;
    const [column, row] = [dims[first] - 0.5 - this.middle[first], dims[second] - 0.5 - this.middle[second]];
    const [wide, high] = [spacing[first] * tile.scale, spacing[second] * tile.scale];
    return {
      left: tile.left + column * wide * (1 - this.enlarged),
      top: tile.top + row * high * (1 - this.enlarged),
      columnPx: wide * this.enlarged,
      rowPx: high * this.enlarged,
    };
  }

  #cursorOn(tile) {
    const place = this.#place(tile);
    const [first, second] = PLANES[tile.plane];
    return [
      place.left + (this.map.dims[first] - 0.5 - this.cursor[first]) * place.columnPx,
      place.top + (this.map.dims[second] - 0.5 - this.cursor[second]) * place.rowPx,
    ];
  }

  #shows(tile) {
    const [x, y] = this.#cursorOn(tile);
    return x >= tile.left && x <= tile.left + tile.width && y >= tile.top && y <= tile.top + tile.height;
  }

  // --- the mouse, where nothing is painted ---

  #wheel(event) {
    event.preventDefault();
    const tile = this.#tileAt(event.offsetX, event.offsetY);
    if (!tile) return;
    this.plane = tile.plane;
    if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 1.25 : 0.8);
    else this.step(0, 0, event.deltaY < 0 ? 1 : -1);
  }

  #down(event) {
    const looks = this.host.dataset.tool === "look";
    if (event.button === 0 && !looks) return;
    const tile = this.#tileAt(event.offsetX, event.offsetY);
    if (!tile) return;
    this.canvas.setPointerCapture(event.pointerId);
    const kind = event.button === 2 ? "window" : event.button === 1 || event.ctrlKey ? "pan" : "cursor";
    this.dragged = { kind, tile, x: event.clientX, y: event.clientY };
    this.plane = tile.plane;
    if (kind === "cursor") this.#drag(event);
  }

  #drag(event) {
    if (!this.dragged) return;
    const { kind, tile, x, y } = this.dragged;
    const [right, down] = [event.clientX - x, event.clientY - y];
    this.dragged = { ...this.dragged, x: event.clientX, y: event.clientY };
    if (kind === "cursor") {
      const found = this.at(event.offsetX, event.offsetY);
      if (found?.plane === tile.plane) this.moveTo(found.voxel);
    } else if (kind === "window") {
      const gain = Math.max(this.window.width / 400, 1e-6);
      this.setWindow(this.window.centre + down * gain, Math.max(this.window.width + right * gain, gain));
      this.on.windowed(this.window.centre, this.window.width);
    } else if (this.enlarged > 1) {
      const place = this.#place(tile);
      const factor = this.enlarged / (this.enlarged - 1);
      this.middle = this.middle.slice();
      this.middle[PLANES[tile.plane][0]] += (right / place.columnPx) * factor;
      this.middle[PLANES[tile.plane][1]] += (down / place.rowPx) * factor;
      this.redraw();
    }
  }

  // --- drawing ---

  #draw() {
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.host.clientWidth, this.host.clientHeight);
    for (const tile of this.tiles) {
      this.#drawSlice(tile.plane);
      const place = this.#place(tile);
      context.save();
      context.beginPath();
      context.rect(tile.left, tile.top, tile.width, tile.height);
      context.clip();
      context.imageSmoothingEnabled = place.columnPx < 2;
      context.drawImage(this.slice, place.left, place.top,
        this.slice.width * place.columnPx, this.slice.height * place.rowPx);
      this.#drawCursor(context, tile);
      context.restore();
    }
  }

  #drawSlice(plane) {
    const { dims, start, steps, data } = this.map;
    const [first, second] = PLANES[plane];
    const across = 3 - first - second;
    const [columns, rows] = [dims[first], dims[second]];
    this.slice.width = columns;
    this.slice.height = rows;
    const pixels = new ImageData(columns, rows);
    const shown = new Uint32Array(pixels.data.buffer);
    const gain = 255 / this.window.width;
    const low = this.window.centre - this.window.width / 2;
    const base = start + steps[across] * this.cursor[across];
    const blend = this.opacity;
    const colour = Array.from({ length: 256 }, (_, value) => value ? this.colours(value) : null);
    let n = 0;
    for (let row = 0; row < rows; row++) {
      let at = base + steps[second] * (rows - 1 - row) + steps[first] * (columns - 1);
      for (let column = 0; column < columns; column++, at -= steps[first]) {
        const grey = Math.min(Math.max((this.values[at] - low) * gain, 0), 255);
        const label = data[at];
        if (!label || !blend) {
          shown[n++] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
          continue;
        }
        const [red, green, blue] = colour[label];
        const under = grey * (1 - blend);
        shown[n++] = 0xff000000 | ((under + blue * blend) << 16) | ((under + green * blend) << 8) | (under + red * blend);
      }
    }
    this.slice.getContext("2d").putImageData(pixels, 0, 0);
  }

  #drawCursor(context, tile) {
    const [x, y] = this.#cursorOn(tile);
    context.strokeStyle = "rgb(255 140 0 / 80%)";
    context.lineWidth = tile.plane === this.plane ? 1.5 : 0.75;
    context.beginPath();
    for (const [right, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 8 * right, y + 8 * down);
      context.lineTo(x + 9999 * right, y + 9999 * down);
    }
    context.stroke();
    const [left, right, top, bottom] = LETTERS[tile.plane];
    context.fillStyle = "#ddd";
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(left, tile.left + 9, tile.top + tile.height / 2);
    context.fillText(right, tile.left + tile.width - 9, tile.top + tile.height / 2);
    context.fillText(top, tile.left + tile.width / 2, tile.top + 10);
    context.fillText(bottom, tile.left + tile.width / 2, tile.top + tile.height - 9);
  }
}

// Planes beside each other, or two above one, whichever shows them larger; one scale (px per mm) for all.
function arranged(names, sizes, width, height) {
  const extent = (name) => PLANES[name].map((axis) => sizes[axis]);
  const widths = names.map((name) => extent(name)[0]);
  const heights = names.map((name) => extent(name)[1]);
  const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);
  const inRow = Math.min((width - GAP * (names.length - 1)) / sum(widths), height / Math.max(...heights));
  const [, , z] = sizes;
  const inGrid = names.length < 3 ? 0
    : Math.min((width - GAP) / (sizes[0] + sizes[1]), (height - GAP) / (sizes[1] + z));
  const scale = Math.max(inRow, inGrid);
  const places = inRow >= inGrid
    ? names.map((_, n) => [sum(widths.slice(0, n)) * scale + GAP * n, 0])
    : [[0, 0], [0, sizes[1] * scale + GAP], [sizes[0] * scale + GAP, sizes[1] * scale + GAP]];
  const used = names.map((_, n) => [places[n][0] + widths[n] * scale, places[n][1] + heights[n] * scale]);
  const [left, top] = [0, 1].map((axis) => ([width, height][axis] - Math.max(...used.map((one) => one[axis]))) / 2);
  return names.map((plane, n) => ({
    plane, scale, left: left + places[n][0], top: top + places[n][1], width: widths[n] * scale, height: heights[n] * scale,
  }));
}

// The axes of a file, turned and flipped to those of the patient that are nearest (see medseg.volume.nearest_axes).
function mapOf(header, dims, data) {
  const view = new DataView(header.buffer);
  const columns = [0, 1, 2].map((axis) => [280, 296, 312].map((row) => view.getFloat32(row + 4 * axis, true)));
  const spacing = columns.map((column) => Math.hypot(...column) || 1);
  const cosine = (axis, world) => columns[axis][world] / spacing[axis];
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const fit = (order) => order.reduce((sum, axis, world) => sum + Math.abs(cosine(axis, world)), 0);
  const order = orders.reduce((best, next) => (fit(next) > fit(best) ? next : best));
  const strides = [1, dims[0], dims[0] * dims[1]];
  const backwards = order.map((axis, world) => cosine(axis, world) < 0);
  return {
    dims: order.map((axis) => dims[axis]),
    spacing: order.map((axis) => spacing[axis]),
    steps: order.map((axis, world) => (backwards[world] ? -strides[axis] : strides[axis])),
    start: order.reduce((sum, axis, world) => sum + (backwards[world] ? strides[axis] * (dims[axis] - 1) : 0), 0),
    data,
  };
}
