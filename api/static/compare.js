// The original and the enhanced version, one over the other, with a slider between them.

export function watchComparisons(results, viewer) {
  const stage = viewer.querySelector(".compare");
  const range = viewer.querySelector(".compare-range");

  function cut() {
    stage.style.setProperty("--cut", `${range.value}%`);
  }

  range.addEventListener("input", cut);
  results.addEventListener("click", (event) => {
    const button = event.target.closest("[data-compare]");
    if (!button) return;
    const of = button.dataset;
    viewer.querySelector(".compare-images").replaceChildren(
      picture(of.before, `Before: ${of.alt}`, of),
      picture(of.after, `After: ${of.alt}`, of),
    );
    viewer.querySelector("h2").textContent = of.name;
    viewer.querySelector(".compare-before").textContent = `Before ${of.beforeSize}`;
    viewer.querySelector(".compare-after").textContent = `After ${of.afterSize}`;
    viewer.querySelector(".viewer-note").textContent = of.alt;
    stage.style.setProperty("--ratio", of.width / of.height);
    range.value = 50;
    cut();
    viewer.showModal();
    range.focus();
  });
}

// Both get the size of the enhanced one: they must lie exactly over each other.
function picture(address, alt, of) {
  const image = new Image(of.width, of.height);
  image.src = address;
  image.alt = alt;
  return image;
}
