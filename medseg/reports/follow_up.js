// Shows the two times of a picture side by side, in turn, or one over the other with a movable border. Without
// this script the page shows them side by side.
"use strict";
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function setUp(pair) {
  const panes = pair.querySelector(".panes");
  const controls = pair.querySelector(".modes");
  const cut = pair.querySelector(".cut");
  const cutLabel = pair.querySelector(".cut-label");
  const turn = pair.querySelector(".turn");
  let timer = 0;

  function showLater(later) {
    panes.classList.toggle("later-on-top", later);
    turn.textContent = later ? "Later is shown" : "Earlier is shown";
    turn.setAttribute("aria-pressed", String(later));
  }

  function setMode(mode) {
    clearInterval(timer);
    timer = 0;
    panes.dataset.mode = mode;
    cutLabel.hidden = mode !== "slide";
    turn.hidden = mode !== "blink";
    showLater(false);
    if (mode === "blink" && !still) {
      timer = setInterval(() => showLater(!panes.classList.contains("later-on-top")), 900);
    }
  }

  controls.hidden = false;
  controls.addEventListener("change", (event) => { if (event.target.name) setMode(event.target.value); });
  cut.addEventListener("input", () => panes.style.setProperty("--cut", cut.value + "%"));
  // A press stops the change and goes on by hand.
  turn.addEventListener("click", () => {
    clearInterval(timer);
    showLater(!panes.classList.contains("later-on-top"));
  });
  setMode("side");
}

document.querySelectorAll(".pair").forEach(setUp);
