// Runs before the first paint: applies the person's own choice of theme over the system's.
"use strict";
(() => {
  const dark = document.getElementById("dark");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => chosen() ? chosen() === "dark" : system.matches;
  function apply() {
    dark.media = isDark() ? "all" : "not all";
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  }
  // Choosing what the system already says returns to following the system.
  function toggle() {
    const next = isDark() ? "light" : "dark";
    try {
      if ((next === "dark") === system.matches) localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch { /* storage refused: the choice lasts for this page */ }
    apply();
    document.dispatchEvent(new Event("themechange"));
  }
  apply();
  system.addEventListener("change", () => { apply(); document.dispatchEvent(new Event("themechange")); });
  document.addEventListener("click", e => { if (e.target.closest("[data-theme-toggle]")) toggle(); });
})();
