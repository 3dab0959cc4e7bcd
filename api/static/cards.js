// Cards: thumbnails show their picture, captions come on demand, "why" opens in a drawer.

export function watchCards(results, drawer) {
  results.addEventListener("click", (event) => {
    const thumb = event.target.closest("[data-show]");
    if (thumb && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      show(thumb);
    }
    const caption = event.target.closest("[data-caption]");
    if (caption) toggleCaptions(caption);
    const summary = event.target.closest(".why > summary");
    if (summary) {
      event.preventDefault();
      explain(summary, drawer);
    }
  });

  results.addEventListener("keydown", (event) => {
    const thumb = event.target.closest("[data-show]");
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!thumb || !step) return;
    event.preventDefault();
    const thumbs = [...thumb.parentElement.children];
    const next = thumbs[(thumbs.indexOf(thumb) + step + thumbs.length) % thumbs.length];
    next.focus();
    show(next);
  });
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

function explain(summary, drawer) {
  const card = summary.closest(".card");
  const picture = card.querySelector("[data-slide]:not([hidden]) img").cloneNode();
  picture.className = "drawer-picture";
  const words = summary.parentElement.querySelector(".why-content").cloneNode(true);
  drawer.querySelector("h2").textContent = card.querySelector(".name").textContent;
  drawer.querySelector(".drawer-body").replaceChildren(picture, ...words.childNodes);
  drawer.showModal();
  drawer.scrollTop = 0;
}
