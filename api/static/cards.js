// Cards: thumbnails show their picture, captions come on demand, "why" opens in a drawer.

const SWIPE = 40;

export function watchCards(results, drawer) {
  results.addEventListener("click", (event) => {
    const thumb = event.target.closest("[data-show]");
    if (thumb && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      show(thumb);
    }
    const turn = event.target.closest("[data-turn]");
    if (turn) step(turn.closest(".card"), Number(turn.dataset.turn));
    const caption = event.target.closest("[data-caption]");
    if (caption) toggleCaptions(caption);
    // The picture itself explains itself, too.
    const picture = event.target.closest(".slide > img");
    const summary = picture ? summaryOf(picture) : event.target.closest(".why > summary");
    if (summary) {
      event.preventDefault();
      explain(summary, drawer);
    }
  });

  results.addEventListener("keydown", (event) => {
    const thumb = event.target.closest("[data-show]");
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!thumb || !by) return;
    event.preventDefault();
    step(thumb.closest(".card"), by).focus();
  });

  watchSwipes(results);
}

// A finger that moves more sideways than up or down turns the picture.
function watchSwipes(results) {
  let start = null;
  results.addEventListener("pointerdown", (event) => {
    const stage = event.pointerType === "touch" && event.target.closest(".stage");
    start = stage ? { stage, x: event.clientX, y: event.clientY } : null;
  });
  results.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) step(start.stage.closest(".card"), x < 0 ? 1 : -1);
    start = null;
  });
  results.addEventListener("pointercancel", () => (start = null));
}

// Shows the picture after the one that is shown, or before it; after the last comes the first.
function step(card, by) {
  const thumbs = [...card.querySelectorAll("[data-show]")];
  const now = thumbs.findIndex((thumb) => thumb.ariaCurrent === "true");
  const next = thumbs[(now + by + thumbs.length) % thumbs.length];
  if (next) show(next);
  return next;
}

function show(thumb) {
  const card = thumb.closest(".card");
  const number = thumb.dataset.show;
  for (const slide of card.querySelectorAll("[data-slide]")) {
    slide.hidden = slide.dataset.slide !== number;
  }
  for (const panel of card.querySelectorAll("[data-panel]")) {
    panel.hidden = panel.dataset.panel !== number;
  }
  for (const other of card.querySelectorAll("[data-show]")) {
    if (other === thumb) other.setAttribute("aria-current", "true");
    else other.removeAttribute("aria-current");
  }
  // Not scrollIntoView: that would move the page as well.
  const strip = thumb.parentElement;
  strip.scrollTo({ left: thumb.offsetLeft - (strip.clientWidth - thumb.clientWidth) / 2 });
}

function toggleCaptions(button) {
  const card = button.closest(".card");
  const shown = button.getAttribute("aria-pressed") !== "true";
  for (const caption of card.querySelectorAll(".caption")) caption.hidden = !shown;
  for (const other of card.querySelectorAll("[data-caption]")) {
    other.setAttribute("aria-pressed", String(shown));
  }
}

function summaryOf(picture) {
  const { slide } = picture.parentElement.dataset;
  return picture.closest(".card").querySelector(`[data-panel="${slide}"] .why > summary`);
}

function explain(summary, drawer) {
  const card = summary.closest(".card");
  const picture = card.querySelector("[data-slide]:not([hidden]) img").cloneNode();
  picture.className = "drawer-picture";
  picture.sizes = "460px";
  const words = summary.parentElement.querySelector(".why-content").cloneNode(true);
  drawer.querySelector("h2").textContent = card.querySelector(".name").textContent;
  drawer.querySelector(".drawer-body").replaceChildren(picture, ...words.childNodes);
  drawer.showModal();
  drawer.scrollTop = 0;
}
