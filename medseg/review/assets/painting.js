// Brush, fill and undo on a label map.
//
// A map is {dims, start, steps, data, spacing}: voxel (x, y, z) of the view is data[start + x * steps[0] + ...], so
// that a view may turn and flip the axes while `data` stays as it is in the file. A change is {at, before, after}:
// the indices into `data`, the values that stood there, and the value or values that stand there now.
"use strict";

const Painting = {
  index(map, [x, y, z]) {
    return map.start + x * map.steps[0] + y * map.steps[1] + z * map.steps[2];
  },

  inside(map, voxel) {
    return voxel.every((n, axis) => n >= 0 && n < map.dims[axis]);
  },

  // A disc in the plane of two axes, drawn from one voxel to another; its diameter counts the smaller voxel side.
  line(map, from, to, axes, size, value) {
    const [first, second] = axes;
    const steps = Math.max(1, Math.abs(to[first] - from[first]), Math.abs(to[second] - from[second]));
    const change = { at: [], before: [], after: value };
    for (let n = 0; n <= steps; n++) {
      const centre = from.map((start, axis) => Math.round(start + ((to[axis] - start) * n) / steps));
      disc(map, centre, axes, size, value, change);
    }
    return change;
  },

  // The region of one value around a voxel, in its slice. Null if it is background that reaches the border.
  fill(map, voxel, axes, value) {
    const [first, second] = axes;
    const old = map.data[Painting.index(map, voxel)];
    const change = { at: [], before: [], after: value };
    if (old === value) return change;
    const waiting = [voxel];
    let open = false;
    while (waiting.length) {
      const place = waiting.pop();
      const at = Painting.index(map, place);
      if (map.data[at] !== old) continue;
      set(map, at, value, change);
      for (const [axis, step] of [[first, 1], [first, -1], [second, 1], [second, -1]]) {
        const next = place.slice();
        next[axis] += step;
        if (next[axis] >= 0 && next[axis] < map.dims[axis]) waiting.push(next);
        else open = true;
      }
    }
    if (!open || old !== 0) return change;
    Painting.revert(map, change);
    return null;
  },

  revert(map, change) {
    for (let n = change.at.length - 1; n >= 0; n--) map.data[change.at[n]] = change.before[n];
  },

  repeat(map, change) {
    for (const at of change.at) map.data[at] = change.after;
  },
};

function disc(map, centre, [first, second], size, value, change) {
  const side = Math.min(map.spacing[first], map.spacing[second]);
  const radius = (size * side) / 2;
  const reach = [first, second].map((axis) => Math.floor(radius / map.spacing[axis]));
  for (let a = -reach[0]; a <= reach[0]; a++) {
    for (let b = -reach[1]; b <= reach[1]; b++) {
      const distance = Math.hypot(a * map.spacing[first], b * map.spacing[second]);
      const voxel = centre.slice();
      voxel[first] += a;
      voxel[second] += b;
      if ((distance < radius || (!a && !b)) && Painting.inside(map, voxel)) {
        set(map, Painting.index(map, voxel), value, change);
      }
    }
  }
}

function set(map, at, value, change) {
  if (map.data[at] === value) return;
  change.at.push(at);
  change.before.push(map.data[at]);
  map.data[at] = value;
}

// What was done to one map, for undo and redo. A stroke may consist of several changes.
class History {
  constructor() {
    this.done = [];
    this.undone = [];
  }

  add(changes) {
    if (!changes.some((change) => change.at.length)) return;
    this.done.push(changes);
    this.undone = [];
  }

  undo(map) {
    const changes = this.done.pop();
    if (!changes) return null;
    for (const change of [...changes].reverse()) Painting.revert(map, change);
    this.undone.push(changes);
    return changes;
  }

  redo(map) {
    const changes = this.undone.pop();
    if (!changes) return null;
    for (const change of changes) Painting.repeat(map, change);
    this.done.push(changes);
    return changes;
  }
}
