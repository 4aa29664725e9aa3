// Keys of the review queue: a approves the card in focus, r opens its reason, j and k move, u undoes the last verdict.
"use strict";
(() => {
  let at = 0;
  const cards = () => [...document.querySelectorAll("[data-review]")];
  function choose(index) {
    const all = cards();
    if (!all.length) return;
    at = Math.max(0, Math.min(all.length - 1, index));
    all.forEach((card, place) => card.classList.toggle("chosen", place === at));
    all[at].focus({ preventScroll: true });
    all[at].scrollIntoView({ block: "nearest" });
  }
  const KEYS = {
    a: () => cards()[at]?.querySelector("[data-approve]").requestSubmit(),
    r: () => {
      const details = cards()[at]?.querySelector("details.reject");
      if (details) { details.open = true; details.querySelector("textarea").focus(); }
    },
    j: () => choose(at + 1),
    k: () => choose(at - 1),
    u: () => document.getElementById("undo")?.requestSubmit(),
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const act = KEYS[event.key.toLowerCase()];
    if (act) { event.preventDefault(); act(); }
  });
  document.addEventListener("DOMContentLoaded", () => choose(0));
})();
