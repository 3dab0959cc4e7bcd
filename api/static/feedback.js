// Tells the API which pictures were shown and which were clicked on, in batches.

const ADDRESS = "/v1/events";
const EVERY = 4000;
// Of a picture's area, for so many milliseconds: then somebody has seen it.
const SEEN = { share: 0.5, after: 400 };
const MOST_IN_BATCH = 100;
const MOST_KEPT = 500;

export function watchFeedback(results) {
  const waiting = [];
  const sent = new Set();
  const timers = new Map();
  let view = "";

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        clearTimeout(timers.get(target));
        timers.delete(target);
        if (!isIntersecting) continue;
        timers.set(target, setTimeout(() => seen(target), SEEN.after));
      }
    },
    { threshold: SEEN.share },
  );

  function seen(element) {
    observer.unobserve(element);
    timers.delete(element);
    record("impression", element);
  }

  // Each picture is recorded once for each kind and each set of results: its id says so.
  function record(kind, element) {
    const set = results.querySelector("[data-summary]");
    const card = element.closest(".card");
    const slide = card.querySelector(`[data-slide="${element.dataset.show ?? element.dataset.slide}"]`);
    const { slot, position, product, source } = slide.dataset;
    const id = `${view}-${card.dataset.number}-${slide.dataset.slide}-${kind[0]}`;
    if (sent.has(id)) return;
    sent.add(id);
    waiting.push({
      event_id: id,
      kind,
      docid: card.dataset.docid,
      // As it is written: larger ones than a number of JavaScript holds would change.
      product_id: product,
      position: Number(position),
      slot,
      source,
      query: set.dataset.asked,
      category: set.dataset.understood,
      occurred_at: Date.now() / 1000,
    });
    if (waiting.length >= MOST_IN_BATCH) send();
  }

  // Whoever clicks on a picture has seen it, however short a time it was there.
  function clicked(element) {
    record("impression", element);
    record("click", element);
  }

  // New results are on the page.
  function begin() {
    observer.disconnect();
    timers.forEach(clearTimeout);
    timers.clear();
    sent.clear();
    view = [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join("");
    // The first thumbnail shows what the card shows.
    const shown = results.querySelectorAll('[data-slide="0"], .strip [data-show]:not([data-show="0"])');
    shown.forEach((element) => observer.observe(element));
  }

  async function send() {
    const batch = waiting.splice(0, MOST_IN_BATCH);
    if (!batch.length) return;
    try {
      const response = await fetch(ADDRESS, { ...request(batch), method: "POST", keepalive: true });
      if (response.status >= 500) throw new Error(`${response.status}`);
    } catch {
      // Later again: an event that came in twice counts once.
      waiting.unshift(...batch);
      waiting.splice(MOST_KEPT);
    }
  }

  // What is left when somebody leaves; the browser sends it after the page is gone.
  function leave() {
    while (waiting.length) {
      const { body, headers } = request(waiting.splice(0, MOST_IN_BATCH));
      navigator.sendBeacon(ADDRESS, new Blob([body], { type: headers["Content-Type"] }));
    }
  }

  setInterval(send, EVERY);
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.hidden && leave());
  results.addEventListener("click", (event) => {
    const thumb = event.target.closest("[data-show]");
    const look = event.target.closest(".slide > img, .why > summary, [data-compare]");
    if (thumb) clicked(thumb);
    else if (look) clicked(look.closest(".card").querySelector("[data-slide]:not([hidden])"));
  });
  begin();
  return begin;
}

function request(events) {
  return { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ events }) };
}
