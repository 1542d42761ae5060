// A window of the reader's own. The pictures hold codes from 0 to 255 for values in between the nodes that #levels
// tells; a filter with a table turns the codes into grey.
"use strict";
{
  const levels = document.getElementById("levels");
  const centre = document.getElementById("centre");
  const width = document.getElementById("width");
  const values = JSON.parse(levels.dataset.values);
  const codes = JSON.parse(levels.dataset.codes);
  const tables = document.getElementById("window-own").querySelectorAll("feFuncR, feFuncG, feFuncB");

  const valueOf = (code) => {
    let n = 1;
    while (n < codes.length - 1 && code > codes[n]) n += 1;
    const share = (code - codes[n - 1]) / (codes[n] - codes[n - 1]);
    return values[n - 1] + share * (values[n] - values[n - 1]);
  };

  const setOwn = () => {
    const span = Number(width.value);
    const low = Number(centre.value) - span / 2;
    if (!(span > 0) || !Number.isFinite(low)) return;
    const grey = Array.from({ length: 256 }, (_, code) => Math.min(Math.max((valueOf(code) - low) / span, 0), 1));
    tables.forEach((table) => table.setAttribute("tableValues", grey.map((share) => share.toFixed(4)).join(" ")));
    document.getElementById("own").checked = true;
  };

  levels.hidden = false;
  [centre, width].forEach((input) => input.addEventListener("input", setOwn));
  document.querySelectorAll("input[name=window]").forEach((choice) => choice.addEventListener("change", () => {
    if (!choice.dataset.centre) return;
    centre.value = choice.dataset.centre;
    width.value = choice.dataset.width;
  }));
}
