// Charts: figure JSON from data-figure, coloured from CSS tokens, drawn by plotly.js (loaded when a page has a chart).
// A trace says what it is in `meta`: revenue, spend, roas, prev, ok, warn, bad, 1…6 (a token --c-…), or heat.
"use strict";
(() => {
  const { plotly: PLOTLY, prelude: PRELUDE } = document.currentScript.dataset;
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
  const STATES = { ok: "--ok", warn: "--warn", bad: "--bad" };
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rgba = (hex, alpha) => {
    const n = parseInt(hex.slice(1), 16);
    return `rgba(${n >> 16},${(n >> 8) & 255},${n & 255},${alpha})`;
  };

  function load(address) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
  }
  let loading;
  const plotly = () => loading ??= load(PRELUDE).then(() => load(PLOTLY));

  function colourTrace(trace) {
    if (trace.meta === "heat") {
      trace.colorscale = [[0, css("--surface-3")], [1, css("--c-1")]];
      trace.textfont = { size: 12, color: css("--ink") };
      return;
    }
    const colour = css(STATES[trace.meta] ?? `--c-${trace.meta ?? 1}`) || css("--c-1");
    if (trace.type === "bar") {
      trace.marker = { ...trace.marker, color: colour, cornerradius: trace.orientation === "h" ? 4 : 3 };
      if (trace.error_x) trace.error_x.color = css("--ink");
    } else {
      trace.line = { ...trace.line, color: colour };
      trace.marker = { ...trace.marker, color: colour };
      if (trace.fill === "toself") trace.fillcolor = rgba(colour, .14);
      else if (trace.fill) trace.fillgradient = { type: "vertical", colorscale: [[0, rgba(colour, 0)], [1, rgba(colour, .18)]] };
    }
  }

  function themed(figure, element) {
    const layout = figure.layout;
    const axis = {
      gridcolor: css("--c-grid"), linecolor: css("--line"), tickcolor: css("--line"), spikecolor: css("--line-strong"),
      tickfont: { size: 12, color: css("--c-axis") },
    };
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: css("--font"), size: 12, color: css("--ink-2") };
    for (const name of Object.keys(layout).filter(key => /^[xy]axis\d*$/.test(key))) layout[name] = { ...axis, ...layout[name] };
    layout.hoverlabel = {
      namelength: -1, align: "left", bgcolor: css("--surface"), bordercolor: css("--line-strong"),
      font: { family: css("--font"), size: 12, color: css("--ink") },
    };
    // Hours carry their date on a second line, which needs room.
    if (layout.xaxis?.type === "date" && !layout.xaxis.tickformat) layout.xaxis.automargin = true;
    figure.data.forEach(colourTrace);
    for (const shape of layout.shapes ?? []) shape.line = { ...shape.line, color: css(shape.name === "base" ? "--ink-3" : "--line-strong") };
    for (const note of layout.annotations ?? []) note.font = { size: 11, color: css("--ink-3") };
    if (element.clientWidth < 480) narrow(layout);
    return figure;
  }

  function narrow(layout) {
    if (layout.xaxis?.type === "date") layout.xaxis.nticks = 4;
    layout.annotations = (layout.annotations ?? []).filter(note => note.name !== "note");
    layout.margin = { ...layout.margin, l: 4, r: 4 };
  }

  async function draw(element) {
    try {
      if (!element.figure) {
        const [answer] = await Promise.all([fetch(element.dataset.figure, { headers: { Accept: "application/json" } }), plotly()]);
        if (!answer.ok) throw new Error(`${answer.status}`);
        element.figure = await answer.text();
      }
      const figure = themed(JSON.parse(element.figure), element);
      await Plotly.react(element, figure.data, figure.layout, CONFIG);
      if (!element.dataset.ready) walkable(element);
      element.dataset.ready = "1";
    } catch (error) {
      element.dataset.failed = "1";
      element.textContent = document.documentElement.lang.startsWith("en") ? "This chart could not be loaded. Reload the page to try again." : "⚠";
    }
  }

  // Arrow keys walk the points; a live region reads them out.
  function walkable(element) {
    let at = -1;
    const live = document.getElementById(element.dataset.live);
    element.addEventListener("keydown", event => {
      const last = (element.data[0]?.x?.length ?? 0) - 1;
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") Plotly.Fx.unhover(element);
      if (!step || last < 0) return;
      event.preventDefault();
      at = Math.max(0, Math.min(last, at < 0 && step < 0 ? last : at + step));
      const x = element.data[0].x[at];
      const { xaxis, yaxis } = element._fullLayout;
      Plotly.Fx.hover(element, { xval: xaxis.d2c ? xaxis.d2c(x) : x, yval: (yaxis.range[0] + yaxis.range[1]) / 2 }, "xy");
      if (live) live.textContent = `${x}: ` + element.data.map(trace => `${trace.name} ${spoken(element, trace, at)}`).join(", ");
    });
  }
  function spoken(element, trace, at) {
    const point = element.calcdata?.[element.data.indexOf(trace)]?.[at];
    const value = point && (point.s1 ?? point.y ?? point.b);
    return Number.isFinite(value) ? value.toFixed(2) : "–";
  }

  const drawAll = root => root.querySelectorAll("[data-figure]").forEach(draw);
  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("themechange", () => drawAll(document));
  document.addEventListener("htmx:afterSwap", event => drawAll(event.target));
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-png]");
    if (button) Plotly.downloadImage(document.querySelector(button.dataset.png), { format: "png", width: 1200, height: 480, scale: 2, filename: button.dataset.name ?? "chart" });
  });
})();
