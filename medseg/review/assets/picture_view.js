// A picture on a canvas, with zoom and pan. The same members as VolumeView, as far as a picture has them.
"use strict";

const PICTURE_AXES = [0, 1];

class PictureView {
  static layouts = {};

  constructor(host, on) {
    this.host = host;
    this.on = on;
    this.plane = "picture";
    this.opacity = 0.5;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    host.replaceChildren(this.canvas);
    this.resized = new ResizeObserver(() => this.#resize());
    this.resized.observe(host);
    this.canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  async open(facts, jpeg, labels, colours) {
    const [columns, rows] = facts.dims;
    this.map = { dims: facts.dims, spacing: [1, 1, 1], steps: [1, columns, 0], start: 0, data: labels };
    this.colours = colours;
    this.picture = await decoded(new Blob([jpeg], { type: "image/jpeg" }));
    this.drawing = document.createElement("canvas");
    this.drawing.width = columns;
    this.drawing.height = rows;
    this.cursor = (middleOf(this.map) || [columns >> 1, rows >> 1, 0]);
    this.#resize();
    this.fit();
    this.redraw();
  }

  close() {
    this.resized.disconnect();
    this.host.replaceChildren();
  }

  get axes() {
    return PICTURE_AXES;
  }

  moveTo(voxel) {
    this.cursor = voxel.map((n, axis) => Math.min(Math.max(n, 0), this.map.dims[axis] - 1));
    this.#draw();
    this.on.moved();
  }

  step(right, up) {
    this.moveTo([this.cursor[0] + right, this.cursor[1] - up, 0]);
  }

  toEnd() {}

  at(x, y) {
    const voxel = [Math.floor((x - this.left) / this.scale), Math.floor((y - this.top) / this.scale), 0];
    return Painting.inside(this.map, voxel) ? { voxel, plane: "picture" } : null;
  }

  describe() {
    const [column, row] = this.cursor;
    return { voxel: [row, column], value: null, label: this.map.data[Painting.index(this.map, this.cursor)] };
  }

  redraw(changes) {
    const box = changes ? this.#boxOf(changes) : [0, 0, this.map.dims[0], this.map.dims[1]];
    const [left, top, width, height] = box;
    if (width <= 0) return;
    const pixels = new ImageData(width, height);
    let n = 0;
    for (let row = top; row < top + height; row++) {
      for (let column = left; column < left + width; column++, n += 4) {
        const label = this.map.data[row * this.map.dims[0] + column];
        if (label) pixels.data.set([...this.colours(label), 255], n);
      }
    }
    this.drawing.getContext("2d").putImageData(pixels, left, top);
    this.#draw();
  }

  #boxOf(changes) {
    let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
    for (const change of changes) {
      for (const at of change.at) {
        const [column, row] = [at % this.map.dims[0], Math.floor(at / this.map.dims[0])];
        [left, right] = [Math.min(left, column), Math.max(right, column)];
        [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
      }
    }
    return [left, top, right - left + 1, bottom - top + 1];
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.#draw();
  }

  setWindow() {}

  setLayout() {}

  setPlane() {}

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.#fitting() / 2), 40);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.#draw();
  }

  fit() {
    this.scale = this.#fitting();
    this.left = (this.canvas.clientWidth - this.map.dims[0] * this.scale) / 2;
    this.top = (this.canvas.clientHeight - this.map.dims[1] * this.scale) / 2;
    this.#draw();
  }

  pan(right, down) {
    this.left += right;
    this.top += down;
    this.#draw();
  }

  #fitting() {
    return Math.min(this.canvas.clientWidth / this.map.dims[0], this.canvas.clientHeight / this.map.dims[1]) || 1;
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.host.clientWidth * ratio);
    this.canvas.height = Math.round(this.host.clientHeight * ratio);
    if (this.scale) this.fit();
  }

  #draw() {
    if (!this.picture || !this.scale) return;
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const scale = this.scale * ratio;
    context.setTransform(scale, 0, 0, scale, this.left * ratio, this.top * ratio);
    context.imageSmoothingEnabled = this.scale < 2; // enlarged pixels stay pixels
    context.globalAlpha = 1;
    context.drawImage(this.picture, 0, 0, ...this.map.dims.slice(0, 2));
    context.globalAlpha = this.opacity;
    context.drawImage(this.drawing, 0, 0);
    context.globalAlpha = 1;
    this.#drawCursor(context, 1 / this.scale);
  }

  #drawCursor(context, pixel) {
    const [column, row] = [this.cursor[0] + 0.5, this.cursor[1] + 0.5];
    context.strokeStyle = "#ff8c00";
    context.lineWidth = 1.5 * pixel;
    context.beginPath();
    for (const [x, y] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(column + 5 * x * pixel, row + 5 * y * pixel);
      context.lineTo(column + 14 * x * pixel, row + 14 * y * pixel);
    }
    context.stroke();
  }
}

function decoded(blob) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("the picture can't be shown"));
    image.src = URL.createObjectURL(blob);
  });
}
