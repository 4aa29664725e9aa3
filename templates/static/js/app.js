// Small behaviours, each bound by a data attribute. No inline script, no eval: runs under script-src 'self'.
"use strict";

// data-menu: the sidebar on narrow screens.
function toggleMenu(button) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", open);
  document.getElementById(button.getAttribute("aria-controls")).classList.toggle("open", open);
  if (open) document.querySelector("#menu a")?.focus();
}

// data-copy="#id": copies the text of that element.
async function copy(button) {
  const text = document.querySelector(button.dataset.copy).textContent.trim();
  await navigator.clipboard.writeText(text);
  button.querySelector("[data-copied]").hidden = false;
}

// data-mirror="#id": shows what is typed in a preview as well.
function mirror(input) {
  for (const shown of document.querySelectorAll(input.dataset.mirror)) {
    shown.textContent = input.value || shown.dataset.placeholder || "";
  }
  const left = document.querySelector(`[data-counter="${input.id}"]`);
  if (left) left.textContent = input.maxLength > 0 ? `${input.value.length}/${input.maxLength}` : "";
}

// data-shows="name=value,value": a part of a form that matters for some choices only.
function reveal() {
  for (const part of document.querySelectorAll("[data-shows]")) {
    const [name, values] = part.dataset.shows.split("=");
    const field = document.querySelector(`[name="${name}"]:checked, select[name="${name}"]`);
    part.hidden = !field || !values.split(",").includes(field.value);
  }
  for (const text of document.querySelectorAll("[data-by-choice]")) {
    const field = document.querySelector(`[name="${text.dataset.byChoice}"]:checked, select[name="${text.dataset.byChoice}"]`);
    const words = field && text.dataset[`for${field.value.replace(/(^|_)(.)/g, (_, __, c) => c.toUpperCase())}`];
    if (words) text.textContent = words;
  }
}

document.addEventListener("click", event => {
  const on = name => event.target.closest(`[data-${name}]`);
  let element;
  const open = document.querySelector("[data-menu][aria-expanded=true]");
  if ((element = on("menu"))) toggleMenu(element);
  else if (open && !event.target.closest("#menu")) toggleMenu(open); // a tap beside the sidebar
  if ((element = on("dialog"))) document.getElementById(element.dataset.dialog).showModal();
  if ((element = on("close"))) element.closest("dialog").close();
  if ((element = on("dismiss"))) element.closest("[data-toast]").remove();
  if ((element = on("copy"))) copy(element);
  if ((element = on("preview"))) {
    document.querySelector(".slot").dataset.size = element.dataset.preview;
    for (const other of element.parentElement.children) other.setAttribute("aria-pressed", other === element);
  }
  if (event.target instanceof HTMLDialogElement) event.target.close(); // a click beside the dialog
});
document.addEventListener("keydown", event => {
  const button = document.querySelector("[data-menu][aria-expanded=true]");
  if (event.key === "Escape" && button) { toggleMenu(button); button.focus(); }
  if (event.key === "k" && (event.metaKey || event.ctrlKey)) {
    const search = document.querySelector(".search input");
    if (search) { event.preventDefault(); search.focus(); }
  }
});
document.addEventListener("input", event => { if (event.target.dataset?.mirror) mirror(event.target); });
document.addEventListener("change", event => {
  reveal();
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
document.addEventListener("DOMContentLoaded", () => {
  reveal();
  document.querySelectorAll("[data-mirror]").forEach(mirror);
  document.querySelector("[aria-invalid=true]")?.focus();
  for (const toast of document.querySelectorAll("[data-toast].success")) setTimeout(() => toast.remove(), 8000);
  // A form is sent once: a second click while it travels does nothing.
  document.addEventListener("submit", event => {
    if (event.target.dataset.sent) event.preventDefault();
    else if (event.target.method === "post") event.target.dataset.sent = "1";
  });
});
addEventListener("pageshow", event => {
  if (event.persisted) document.querySelectorAll("[data-sent]").forEach(form => delete form.dataset.sent);
});
