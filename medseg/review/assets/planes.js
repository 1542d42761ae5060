// What both views of a volume share. Voxels are (x, y, z): x to the right, y to the front, z to the head of the patient;
// `map` (see painting.js) translates them to the order of the file.
"use strict";

const PLANES = { axial: [0, 1], coronal: [0, 2], sagittal: [1, 2] };
const PLANE_NAMES = Object.keys(PLANES); // in NiiVue's order
const PLANE_LAYOUTS = { planes: "Three planes", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal" };
const TYPES = { int16: Int16Array, float32: Float32Array };
const MOST_ZOOM = 16;

// A subclass has map, values (in the order of the file), fileDims, cursor and moveTo.
class Volume {
  // host: the element that gets the canvas. on: {moved(), windowed(centre, width)}.
  constructor(host, on) {
    this.host = host;
    this.on = on;
    this.plane = "axial";
    this.layout = "planes";
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    host.replaceChildren(this.canvas);
  }

  get axes() {
    return PLANES[this.plane];
  }

  get across() {
    return 3 - this.axes[0] - this.axes[1];
  }

  inside(voxel) {
    return voxel.map((n, axis) => Math.min(Math.max(Math.round(n), 0), this.map.dims[axis] - 1));
  }

  // right and up: steps on the screen; through: steps to the next slice, to head, front or right.
  step(right, up, through) {
    const voxel = this.cursor.slice();
    voxel[this.axes[0]] -= right; // the patient's right, or front, is on the left of the screen
    voxel[this.axes[1]] += up;
    voxel[this.across] += through;
    this.moveTo(voxel);
  }

  toEnd(last) {
    const voxel = this.cursor.slice();
    voxel[this.across] = last ? this.map.dims[this.across] - 1 : 0;
    this.moveTo(voxel);
  }

  // What a reader wants to know of the voxel under the cursor, in the order of the file.
  describe() {
    const at = Painting.index(this.map, this.cursor);
    const [columns, rows] = this.fileDims;
    const voxel = [at % columns, Math.floor(at / columns) % rows, Math.floor(at / (columns * rows))];
    return { voxel, value: this.values[at], label: this.map.data[at] };
  }
}

// "none", "software" or "hardware". Without a graphics card, as on many remote desktops, NiiVue takes many seconds for
// a large volume and for each change of its window.
function graphics() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return "none";
  const about = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(about ? about.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name) ? "software" : "hardware";
}

// The voxel of the mask that lies nearest to the middle of its largest slice along z; null for an empty mask.
function middleOf(map) {
  const { dims, start, steps, data } = map;
  let best = null;
  for (let z = 0; z < dims[2]; z++) {
    const sums = [0, 0, 0];
    for (let y = 0; y < dims[1]; y++) {
      let at = start + y * steps[1] + z * steps[2];
      for (let x = 0; x < dims[0]; x++, at += steps[0]) {
        if (!data[at]) continue;
        sums[0]++;
        sums[1] += x;
        sums[2] += y;
      }
    }
    if (sums[0] && (!best || sums[0] > best.sums[0])) best = { z, sums };
  }
  return best && [Math.round(best.sums[1] / best.sums[0]), Math.round(best.sums[2] / best.sums[0]), best.z];
}
