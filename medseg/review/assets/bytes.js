// Bytes in and out: base64, zlib, gzip, and the two formats that a mask is saved in.
"use strict";

const Bytes = {
  fromBase64(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let n = 0; n < bytes.length; n++) bytes[n] = characters.charCodeAt(n);
    return bytes;
  },

  toBase64(bytes) {
    if (bytes.toBase64) return bytes.toBase64();
    const parts = [];
    for (let n = 0; n < bytes.length; n += 0x8000) {
      parts.push(String.fromCharCode(...bytes.subarray(n, n + 0x8000)));
    }
    return btoa(parts.join(""));
  },

  join(parts) {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  },

  // Formats of the Compression Streams API: "gzip", and "deflate" for zlib. parts: arrays of bytes, in their order.
  inflate(parts, format) {
    return through(parts, new DecompressionStream(format));
  },

  deflate(parts, format) {
    return through(parts, new CompressionStream(format));
  },
};

async function through(parts, stream) {
  const response = new Response(new Blob(parts).stream().pipeThrough(stream));
  return new Uint8Array(await response.arrayBuffer());
}

// NIfTI-1 whose header is that of the mask that was reviewed, so that its grid stays exactly the same.
const Nifti = {
  HEADER: 352,

  // The bytes of a gzipped file. labels: one byte a voxel, i fastest.
  encode(header, labels) {
    return Bytes.deflate([header, labels], "gzip");
  },

  // The labels of such a file; an Error if it is of another size.
  async decode(packed, dims) {
    const bytes = await Bytes.inflate([packed], "gzip");
    const view = new DataView(bytes.buffer);
    const offset = view.getFloat32(108, true);
    const sizes = [42, 44, 46].map((at) => view.getInt16(at, true));
    const fits = view.getInt32(0, true) === 348 && view.getInt16(70, true) === 2 &&
      sizes.every((size, axis) => size === dims[axis]) && bytes.length >= offset + dims[0] * dims[1] * dims[2];
    if (!fits) throw new Error("the edited mask has another grid");
    return bytes.slice(offset, offset + dims[0] * dims[1] * dims[2]);
  },

  // The same header for voxels of another type, as one file for the viewer.
  image(header, type, voxels) {
    const head = header.slice();
    const view = new DataView(head.buffer);
    view.setInt16(70, { int16: 4, float32: 16 }[type], true);
    view.setInt16(72, { int16: 16, float32: 32 }[type], true);
    view.setFloat32(112, 1, true);
    view.setFloat32(116, 0, true);
    return Bytes.join([head, voxels]);
  },
};

// PNG of 8 bits grey: the value of a pixel is its label.
const Png = {
  async encode(labels, columns, rows) {
    const lines = new Uint8Array((columns + 1) * rows); // each line begins with its filter, 0 for none
    for (let row = 0; row < rows; row++) {
      lines.set(labels.subarray(row * columns, (row + 1) * columns), row * (columns + 1) + 1);
    }
    const head = new Uint8Array(13);
    const view = new DataView(head.buffer);
    view.setUint32(0, columns);
    view.setUint32(4, rows);
    head[8] = 8;
    return Bytes.join([
      Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
      chunk("IHDR", head),
      chunk("IDAT", await Bytes.deflate([lines], "deflate")),
      chunk("IEND", new Uint8Array(0)),
    ]);
  },

  async decode(bytes, columns, rows) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const fits = view.getUint32(16) === columns && view.getUint32(20) === rows && bytes[24] === 8 &&
      bytes[25] === 0 && bytes[28] === 0;
    if (!fits) throw new Error("the edited mask has another grid");
    const data = [];
    for (let at = 8; at < bytes.length; at += 12 + view.getUint32(at)) {
      if (view.getUint32(at + 4) === 0x49444154) data.push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
    }
    return unfiltered(await Bytes.inflate(data, "deflate"), columns, rows);
  },
};

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let n = 0; n < 4; n++) bytes[4 + n] = name.charCodeAt(n);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let n = 4; n < 8 + data.length; n++) crc = CRC[(crc ^ bytes[n]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc >>> 0);
  return bytes;
}

// The five filters of the PNG specification, with one byte a pixel.
function unfiltered(lines, columns, rows) {
  const out = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    const kind = lines[row * (columns + 1)];
    for (let column = 0; column < columns; column++) {
      const at = row * columns + column;
      const left = column ? out[at - 1] : 0;
      const up = row ? out[at - columns] : 0;
      const corner = row && column ? out[at - columns - 1] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind];
      out[at] = lines[row * (columns + 1) + 1 + column] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const [a, b, c] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
