// Publisher tag. Put <div data-adslot="SLOT"></div> where an ad shall stand and load this script once:
//   <script async src="https://ads.example/tag/v1.js"></script>
// Optional attributes of the script: data-keywords="a, b", data-language="en", data-user="first-party id",
// data-test. Consent comes from the page's own TCF dialogue (__tcfapi); without it, or with Global Privacy Control,
// no id is sent. The tag sets no cookie and stores nothing.
(() => {
  "use strict";
  const script = document.currentScript;
  const server = new URL(script.src).origin;
  const refuses = navigator.globalPrivacyControl === true;

  const consent = () => new Promise((resolve) => {
    if (refuses || typeof window.__tcfapi !== "function") return resolve({ gpc: refuses });
    const timer = setTimeout(() => resolve({}), 500);
    window.__tcfapi("getTCData", 2, (data, ok) => {
      clearTimeout(timer);
      resolve(ok && data && data.tcString ? { tcf: data.tcString } : {});
    });
  });

  const count = (url) => { new Image(1, 1).src = url; };

  // What the MRC calls viewable: half of the pixels (30 % of ads of 242,500 and more) in view for one second without a
  // break, of a video half for two, in a window that has the focus. The name travels with the view.
  const LARGE = 242500;
  const standardOf = (frame, ad) => {
    if (ad.content.format === "video") return { name: "video50", share: 0.5, wait: 2000 };
    const large = frame.offsetWidth * frame.offsetHeight >= LARGE;
    return large ? { name: "display30", share: 0.3, wait: 1000 } : { name: "display50", share: 0.5, wait: 1000 };
  };

  const whenSeen = (frame, standard, seen) => {
    let timer = null;
    const stop = () => { clearTimeout(timer); timer = null; };
    const observer = new IntersectionObserver((entries) => {
      const looked = !document.hidden && (document.hasFocus() || document.activeElement === frame);
      const visible = entries[entries.length - 1].intersectionRatio >= standard.share && looked;
      if (!visible) return stop();
      if (timer === null) timer = setTimeout(() => { observer.disconnect(); changes.forEach(([on, name]) => on.removeEventListener(name, again)); seen(); }, standard.wait);
    }, { threshold: [0, 0.3, 0.5, 1] });
    const again = () => { stop(); observer.unobserve(frame); observer.observe(frame); };
    const changes = [[document, "visibilitychange"], [window, "focus"], [window, "blur"]];
    changes.forEach(([on, name]) => on.addEventListener(name, again));
    observer.observe(frame);
  };

  // Whether anybody could see the place: "hidden" without size or display or where no scrolling reaches, "stacked" below
  // another of our ads, "yes" where a view can be measured, "" where it cannot.
  const placed = (frame) => {
    const box = frame.getBoundingClientRect();
    const style = getComputedStyle(frame);
    const away = box.right + scrollX <= 0 || box.bottom + scrollY <= 0;
    if (box.width < 2 || box.height < 2 || away || style.visibility === "hidden" || Number(style.opacity) === 0) return "hidden";
    const covers = (other) => {
      const over = other.getBoundingClientRect();
      const width = Math.min(box.right, over.right) - Math.max(box.left, over.left);
      const height = Math.min(box.bottom, over.bottom) - Math.max(box.top, over.top);
      return width > 0 && height > 0 && width * height >= 0.5 * box.width * box.height;
    };
    if (frames.some((other) => other !== frame && other.isConnected && covers(other))) return "stacked";
    return typeof IntersectionObserver === "function" ? "yes" : "";
  };
  const frames = [];

  const framed = (title, { width, height }, more = "") => {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", `allow-popups allow-popups-to-escape-sandbox${more}`);
    frame.title = title;
    frame.width = width || "100%";
    frame.height = height || 120;
    frame.style.border = "0";
    return frame;
  };

  const show = (place, ad) => {
    const frame = framed("Advertisement", ad.content);
    frame.addEventListener("load", () => {
      const place = placed(frame);
      count(place ? `${ad.impression_url}?m=${place}` : ad.impression_url);
      if (place !== "yes") return;
      const standard = standardOf(frame, ad);
      whenSeen(frame, standard, () => count(`${ad.view_url}?m=${standard.name}`));
    }, { once: true });
    frames.push(frame);
    frame.srcdoc = ad.html;
    place.appendChild(frame);
  };

  // Where no paid ad won: a house ad, or another ad server's tag in a frame of its own origin. Neither is counted.
  const fallBack = (place, { house, passback }) => {
    if (!house && !passback) return "empty";
    const frame = house ? framed(house.content.publisher, house.content) : framed("Advertisement", passback, " allow-scripts");
    if (passback?.url) frame.src = passback.url; else frame.srcdoc = (house || passback).html;
    place.appendChild(frame);
    return house ? "house" : "passback";
  };

  const ask = async () => {
    const places = [...document.querySelectorAll("[data-adslot]:not([data-adstate])")];
    if (!places.length) return;
    places.forEach((place) => { place.dataset.adstate = "asked"; });
    const said = await consent();
    const own = script.dataset;
    const body = {
      placements: places.map((place, i) => ({ id: String(i), slot: place.dataset.adslot, count: Number(place.dataset.adcount || 1) })),
      user: said.tcf && own.user ? { id: own.user, consent: said } : { consent: said },
      context: {
        url: location.origin + location.pathname,
        language: own.language || document.documentElement.lang || "",
        keywords: (own.keywords || document.querySelector('meta[name="keywords"]')?.content || "").split(",").map((word) => word.trim().slice(0, 80)).filter(Boolean).slice(0, 50),
      },
      test: "test" in own,
    };
    try {
      // A plain-text body needs no preflight; nothing is sent along but what stands in it.
      const answer = await fetch(server + "/v1/decisions", { method: "POST", body: JSON.stringify(body), credentials: "omit", headers: { "Content-Type": "text/plain" } });
      const { placements } = await answer.json();
      places.forEach((place, i) => {
        const { ads, no_ad, house, passback } = placements[String(i)];
        place.dataset.adstate = ads.length ? "filled" : fallBack(place, { house, passback });
        if (no_ad) place.dataset.adreason = no_ad;
        ads.forEach((ad) => show(place, ad));
      });
    } catch {
      places.forEach((place) => { place.dataset.adstate = "failed"; });
    }
  };

  // A page that the browser renders in advance asks when somebody comes to see it.
  if (document.prerendering) document.addEventListener("prerenderingchange", ask, { once: true });
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ask);
  else ask();
})();
