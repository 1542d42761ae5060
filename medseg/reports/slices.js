// Shows one slice of each plane at a time, chosen by slider, arrow keys or mouse wheel. Without this script the page
// shows all slices of a plane in a column.
"use strict";
const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -5, PageDown: 5,
                Home: -Infinity, End: Infinity };

function scroll(film) {
  const controls = film.previousElementSibling;
  const slider = controls.querySelector("input");
  const slices = Array.from(film.children);

  const show = (number) => {
    const shown = Math.min(Math.max(number, 0), slices.length - 1);
    slices.forEach((slice, n) => { slice.hidden = n !== shown; });
    slider.value = shown;
    slider.setAttribute("aria-valuetext", slices[shown].querySelector("figcaption").textContent.trim());
  };
  const onKey = (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(Number(slider.value) + steps[event.key]);
  };
  const onWheel = (event) => {
    // Only after a click on the slices, so that scrolling down the page is not interrupted.
    if (event.ctrlKey || !event.deltaY || document.activeElement !== film) return;
    event.preventDefault();
    show(Number(slider.value) + Math.sign(event.deltaY));
  };

  controls.hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  slider.addEventListener("keydown", onKey);
  film.addEventListener("keydown", onKey);
  film.addEventListener("wheel", onWheel, { passive: false });
  show(Number(slider.value));
}

document.documentElement.classList.add("scripted");
document.querySelectorAll(".film").forEach(scroll);
