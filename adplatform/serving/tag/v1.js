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

  // Half of the ad in view for one second without a break, in a tab that is looked at (MRC).
  const whenSeen = (frame, seen) => {
    let timer = null;
    const stop = () => { clearTimeout(timer); timer = null; };
    const observer = new IntersectionObserver((entries) => {
      const visible = entries[entries.length - 1].intersectionRatio >= 0.5 && !document.hidden;
      if (!visible) return stop();
      if (timer === null) timer = setTimeout(() => { observer.disconnect(); document.removeEventListener("visibilitychange", again); seen(); }, 1000);
    }, { threshold: [0, 0.5, 1] });
    const again = () => { stop(); observer.unobserve(frame); observer.observe(frame); };
    document.addEventListener("visibilitychange", again);
    observer.observe(frame);
  };

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
      count(ad.impression_url);
      whenSeen(frame, () => count(ad.view_url));
    }, { once: true });
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

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ask); else ask();
})();
