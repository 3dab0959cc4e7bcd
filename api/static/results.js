// Fetches the results of a query and puts them in place; the address follows.

// A skeleton that is gone at once only flickers.
const PATIENCE = 400;

const still = matchMedia("(prefers-reduced-motion: reduce)");

const status = document.getElementById("status");
const input = document.getElementById("query");

// Calls `shown` whenever other results are on the page.
export function watchResults(results, shown) {
  let running = null;

  async function show(query, { push = true, page = 1 } = {}) {
    running?.abort();
    const own = (running = new AbortController());
    const fields = new URLSearchParams(query ? { query } : {});
    if (page > 1) fields.set("page", page);
    const address = fields.size ? `/?${fields}` : "/";
    if (push) history.pushState(null, "", address);
    document.title = query ? `${query} · JustLens` : "JustLens";
    input.value = query;
    results.setAttribute("aria-busy", "true");
    const waiting = setTimeout(() => fill(results, "skeleton"), PATIENCE);
    try {
      const response = await fetch(`/results?${fields}`, { signal: own.signal });
      const html = await response.text();
      if (!response.headers.get("content-type")?.startsWith("text/html")) {
        throw new Error(`The server answered ${response.status}.`);
      }
      clearTimeout(waiting);
      await exchange(results, html);
      shown();
      const summary = results.querySelector("[data-summary]");
      status.textContent = summary?.dataset.summary ?? "The pictures cannot be shown right now";
    } catch (error) {
      if (error.name === "AbortError") return;
      clearTimeout(waiting);
      fail(error.message, () => show(query, { push: false, page }));
    } finally {
      clearTimeout(waiting);
      if (running === own) results.removeAttribute("aria-busy");
    }
  }

  function fail(message, again) {
    fill(results, "failure");
    results.querySelector(".failure-detail").textContent = message;
    results.querySelector("[data-retry]").addEventListener("click", again);
    status.textContent = "The results could not be fetched";
  }

  results.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-query]");
    if (!chip || event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    show(chip.dataset.query);
  });

  addEventListener("popstate", () => {
    const fields = new URLSearchParams(location.search);
    const page = Number(fields.get("page") ?? 1);
    show(fields.get("query") ?? "", { push: false, page });
  });

  return show;
}

// Cards of the same business move from their old place to the new one, where the browser can.
async function exchange(results, html) {
  const put = () => (results.innerHTML = html);
  if (!document.startViewTransition || still.matches) return put();
  name(results);
  const transition = document.startViewTransition(() => {
    put();
    name(results);
  });
  // Another one that begins meanwhile ends this one, which is as well.
  transition.ready.catch(() => {});
  transition.finished.then(() => name(results, ""));
  await transition.updateCallbackDone;
}

function name(results, prefix = "card-") {
  for (const card of results.querySelectorAll("[data-docid]")) {
    card.style.viewTransitionName = prefix && CSS.escape(prefix + card.dataset.docid);
  }
}

function fill(results, template) {
  results.replaceChildren(document.getElementById(template).content.cloneNode(true));
}
