// Measures the distance between two clicks on a picture, in mm or px. A pane says by data-down and data-across how long
// a pixel of its viewBox is, and by data-unit in which unit.
"use strict";
{
  const SVG = document.querySelector("svg").namespaceURI;
  const ruler = document.getElementById("ruler");
  const told = document.getElementById("distance");
  let first = null;

  const layerOf = (pane) => {
    const found = pane.querySelector("svg.ruler");
    if (found) return found;
    const layer = document.createElementNS(SVG, "svg");
    layer.setAttribute("class", "ruler");
    layer.setAttribute("viewBox", "0 0 " + pane.dataset.columns + " " + pane.dataset.rows);
    layer.setAttribute("aria-hidden", "true");
    pane.append(layer);
    return layer;
  };

  const placeOf = (layer, event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(layer.getScreenCTM().inverse());
    const { width, height } = layer.viewBox.baseVal;
    return { x: Math.min(Math.max(point.x, 0), width), y: Math.min(Math.max(point.y, 0), height) };
  };

  const add = (layer, name, values, text) => {
    const part = document.createElementNS(SVG, name);
    for (const key of Object.keys(values)) part.setAttribute(key, values[key]);
    part.textContent = text || "";
    layer.append(part);
  };

  const clear = () => {
    document.querySelectorAll("svg.ruler").forEach((layer) => layer.replaceChildren());
    first = null;
    told.textContent = "";
  };

  const onClick = (event) => {
    const pane = ruler.checked && event.target.closest(".pane");
    if (!pane) return;
    event.preventDefault();
    const layer = layerOf(pane);
    const place = placeOf(layer, event);
    const px = 1 / layer.getScreenCTM().a;
    if (!first || first.layer !== layer) {
      clear();
      first = { layer, place };
      add(layer, "circle", { cx: place.x, cy: place.y, r: 3 * px });
      return;
    }
    const start = first.place;
    const down = (place.y - start.y) * Number(pane.dataset.down);
    const across = (place.x - start.x) * Number(pane.dataset.across);
    const text = Math.hypot(down, across).toFixed(1) + " " + pane.dataset.unit;
    clear();
    add(layer, "line", { x1: start.x, y1: start.y, x2: place.x, y2: place.y });
    for (const end of [start, place]) add(layer, "circle", { cx: end.x, cy: end.y, r: 3 * px });
    const isRight = place.x > layer.viewBox.baseVal.width / 2;
    add(layer, "text", { x: place.x + (isRight ? -8 : 8) * px, y: place.y - 8 * px, "font-size": 15 * px,
                         "text-anchor": isRight ? "end" : "start" }, text);
    told.textContent = "Distance: " + text;
  };

  document.getElementById("measuring").hidden = false;
  ruler.addEventListener("change", () => {
    document.documentElement.classList.toggle("measures", ruler.checked);
    if (!ruler.checked) clear();
  });
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
}
