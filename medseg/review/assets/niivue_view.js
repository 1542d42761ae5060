// A volume in NiiVue: three planes and 3D. NiiVue shows; what is painted is decided in editor.js.
"use strict";

class NiivueView extends Volume {
  static layouts = { ...PLANE_LAYOUTS, all: "Three planes and 3D", render: "3D" };

  // facts: the piece's part 0. voxels: the image's bytes. labels: the mask, i fastest. window: [centre, width].
  async open(facts, voxels, labels, colours, [centre, width]) {
    const header = Bytes.fromBase64(facts.header);
    const { Niivue, NVImage, DRAG_MODE, SHOW_RENDER } = niivue;
    this.nv = new Niivue({
      backColor: [0, 0, 0, 1],
      clipPlaneHotKey: "", viewModeHotKey: "", cycleClipPlaneHotKey: "", // keys are those of keys.js
      crosshairColor: [1, 0.55, 0, 0.8], crosshairGap: 8,
      dragAndDropEnabled: false,
      fontColor: [0.9, 0.9, 0.9, 1],
      isNearestInterpolation: true,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      mouseEventConfig: {
        leftButton: { primary: DRAG_MODE.crosshair, withShift: DRAG_MODE.measurement, withCtrl: DRAG_MODE.pan },
        rightButton: DRAG_MODE.windowing,
        centerButton: DRAG_MODE.pan,
      },
      multiplanarShowRender: SHOW_RENDER.NEVER, // until it is known that it is quick
      multiplanarForceRender: true,
      multiplanarPadPixels: 4,
      sagittalNoseLeft: true,
      showLegend: false,
      tileMargin: 0,
    });
    await this.nv.attachToCanvas(this.canvas, false);
    this.nv.setDrawColormap(drawColours(colours));
    const file = Nifti.image(header, facts.type, voxels);
    const image = await NVImage.new(file.buffer, "image.nii", "gray", 1, null, centre - width / 2, centre + width / 2);
    this.values = image.img;
    this.nv.setSliceType(this.nv.sliceTypeMultiplanar);
    this.nv.addVolume(image);
    this.image = this.nv.volumes[0];
    this.map = {
      dims: this.image.dimsRAS.slice(1, 4),
      spacing: Array.from(this.image.pixDimsRAS.slice(1, 4)),
      steps: Array.from(this.image.img2RASstep),
      start: this.image.img2RASstart.reduce((sum, n) => sum + n, 0),
      data: labels,
    };
    this.fileDims = facts.dims;
    this.nv.createEmptyDrawing();
    this.redraw();
    this.nv.onLocationChange = () => this.on.moved();
    this.nv.onIntensityChange = (volume) => {
      this.on.windowed((volume.cal_min + volume.cal_max) / 2, volume.cal_max - volume.cal_min);
    };
    this.setLayout("planes");
    this.moveTo(middleOf(this.map) || this.map.dims.map((n) => n >> 1));
  }

  close() {
    if (this.nv) {
      this.nv.cleanup();
      this.nv.gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers keep few contexts
    }
    this.host.replaceChildren();
  }

  // --- where the cursor is ---

  get cursor() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  moveTo(voxel) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(this.inside(voxel));
    this.nv.drawScene();
    this.on.moved();
  }

  // The voxel under a place on the canvas in CSS px and its plane; null outside the planes.
  at(x, y) {
    const dpr = this.nv.uiData.dpr || 1;
    const tile = this.nv.tileIndex(x * dpr, y * dpr);
    const kind = tile < 0 ? -1 : this.nv.screenSlices[tile].axCorSag;
    if (kind < 0 || kind > 2) return null;
    const fraction = this.nv.screenXY2TextureFrac(x * dpr, y * dpr, tile, true);
    if (fraction[0] < 0) return null;
    const plane = PLANE_NAMES[kind];
    const across = 3 - PLANES[plane][0] - PLANES[plane][1];
    const voxel = Array.from(this.nv.frac2vox(fraction));
    voxel[across] = this.cursor[across];
    return Painting.inside(this.map, voxel) ? { voxel, plane } : null;
  }

  // --- what is shown ---

  // Copies labels to NiiVue: of the changed voxels, or all.
  redraw(changes) {
    const { dims, start, steps, data } = this.map;
    const shown = this.nv.drawBitmap;
    let [low, high] = [0, dims[2] - 1];
    if (changes) [low, high] = this.#copyChanged(changes, shown);
    else {
      let n = 0;
      for (let z = 0; z < dims[2]; z++) {
        for (let y = 0; y < dims[1]; y++) {
          let at = start + y * steps[1] + z * steps[2];
          for (let x = 0; x < dims[0]; x++, at += steps[0]) shown[n++] = data[at];
        }
      }
    }
    if (low > high) return;
    this.#upload(low, high, shown);
    this.nv.drawScene();
  }

  #copyChanged(changes, shown) {
    const { dims, start, steps, data } = this.map;
    let [low, high] = [dims[2], -1];
    const order = [0, 1, 2].sort((a, b) => Math.abs(steps[b]) - Math.abs(steps[a]));
    const lowest = start + [0, 1, 2].reduce((sum, axis) => sum + Math.min(0, steps[axis]) * (dims[axis] - 1), 0);
    const voxel = [0, 0, 0];
    for (const change of changes) {
      for (const at of change.at) {
        let rest = at - lowest;
        for (const axis of order) {
          const n = Math.floor(rest / Math.abs(steps[axis]));
          rest -= n * Math.abs(steps[axis]);
          voxel[axis] = steps[axis] < 0 ? dims[axis] - 1 - n : n;
        }
        shown[voxel[0] + dims[0] * (voxel[1] + dims[1] * voxel[2])] = data[at];
        low = Math.min(low, voxel[2]);
        high = Math.max(high, voxel[2]);
      }
    }
    return [low, high];
  }

  // Only the slices that changed: NiiVue's own refreshDrawing sends the whole volume to the graphics card.
  #upload(low, high, shown) {
    const { gl, drawTexture } = this.nv;
    const [columns, rows] = this.map.dims;
    gl.activeTexture(gl.TEXTURE7);
    gl.bindTexture(gl.TEXTURE_3D, drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, low, columns, rows, high - low + 1, gl.RED, gl.UNSIGNED_BYTE,
      shown.subarray(low * columns * rows, (high + 1) * columns * rows));
  }

  setOpacity(opacity) {
    this.nv.setDrawOpacity(opacity);
  }

  setWindow(centre, width) {
    this.image.cal_min = centre - width / 2;
    this.image.cal_max = centre + width / 2;
    this.nv.updateGLVolume();
  }

  setLayout(layout) {
    const { sliceTypeAxial, sliceTypeCoronal, sliceTypeSagittal, sliceTypeMultiplanar, sliceTypeRender } = this.nv;
    const kinds = { planes: sliceTypeMultiplanar, all: sliceTypeMultiplanar, axial: sliceTypeAxial, coronal: sliceTypeCoronal,
                    sagittal: sliceTypeSagittal, render: sliceTypeRender };
    this.layout = layout;
    if (layout in PLANES) this.plane = layout;
    const { ALWAYS, NEVER } = niivue.SHOW_RENDER;
    this.nv.opts.multiplanarShowRender = layout === "all" ? ALWAYS : NEVER;
    this.nv.setSliceType(kinds[layout]);
    this.on.moved();
  }

  setPlane(plane) {
    this.plane = plane;
    if (this.layout in PLANES) this.setLayout(plane);
    this.on.moved();
  }

  // Around the cursor, as NiiVue's own wheel does it.
  zoom(factor) {
    const pan = this.nv.scene.pan2Dxyzmm;
    const zoom = Math.min(Math.max(pan[3] * factor, 1), MOST_ZOOM);
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    const change = pan[3] - zoom;
    this.nv.setPan2Dxyzmm(zoom === 1 ? [0, 0, 0, 1]
      : [pan[0] + change * mm[0], pan[1] + change * mm[1], pan[2] + change * mm[2], zoom]);
  }

  fit() {
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }
}

function drawColours(colours) {
  const channels = { R: [0], G: [0], B: [0], A: [0], labels: [""] };
  for (let value = 1; value < 256; value++) {
    const [red, green, blue] = colours(value);
    channels.R.push(red);
    channels.G.push(green);
    channels.B.push(blue);
    channels.A.push(255);
    channels.labels.push(String(value));
  }
  return channels;
}
