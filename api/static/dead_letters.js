// Dead letters: chosen, looked into, sent again and dropped, over the API.

import { tellTimes } from "./times.js";

// What one request may take; all that fit go in as many as it needs.
const PORTION = 200;
const FILTER = ["queue", "exception", "docid"];

const WORDS = {
  replay: {
    title: (what) => `Replay ${what}?`,
    explain: "Each image goes on from the stage that failed, before any bulk work.",
    go: "Replay",
  },
  drop: {
    title: (what) => `Drop ${what}?`,
    explain: "What is dropped is forgotten for good. Images stay as they are.",
    go: "Drop",
  },
};

export function watchDeadLetters(main, refresh) {
  const confirm = document.getElementById("confirm");
  const details = document.getElementById("details");
  const chosen = new Set();

  const part = () => document.getElementById("dead-letters");
  const rows = () => [...part().querySelectorAll("[data-key]")];

  main.addEventListener("change", (event) => {
    if (event.target.matches("[data-select]")) {
      choose(event.target.closest("[data-key]").dataset.key, event.target.checked);
    } else if (event.target.matches("[data-all]")) {
      for (const row of rows()) choose(row.dataset.key, event.target.checked);
    } else {
      return;
    }
    restore();
  });

  for (const place of [main, details]) {
    place.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button) start(button);
    });
  }

  main.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-details]");
    if (link && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      look(link);
    }
    const more = event.target.closest("a[data-more]");
    if (more && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      history.replaceState(null, "", more.href);
      refresh();
    }
  });

  main.addEventListener("submit", (event) => {
    if (event.target.id !== "filter") return;
    event.preventDefault();
    const fields = [...new FormData(event.target)].filter(([, value]) => value && value !== "0");
    history.pushState(null, "", `/operations?${new URLSearchParams(fields)}#dead-letters`);
    chosen.clear();
    refresh();
  });

  function choose(key, wanted) {
    if (wanted) chosen.add(key);
    else chosen.delete(key);
  }

  // What was chosen before the page changed; what is gone is not chosen any more.
  function restore() {
    const shown = rows();
    const keys = new Set(shown.map((row) => row.dataset.key));
    for (const key of chosen) if (!keys.has(key)) chosen.delete(key);
    for (const row of shown) row.querySelector("[data-select]").checked = chosen.has(row.dataset.key);
    const all = part().querySelector("[data-all]");
    if (!all) return;
    all.checked = chosen.size === shown.length;
    all.indeterminate = chosen.size > 0 && !all.checked;
    part().querySelector("[data-selected]").hidden = chosen.size === 0;
    part().querySelector("[data-unselected]").hidden = chosen.size > 0;
    if (chosen.size) part().querySelector("[data-count]").textContent = `${chosen.size} selected`;
  }

  async function start(button) {
    const act = button.dataset.act;
    const { words, body } = meant(button);
    const began = performance.now();
    if (!(await asked(act, words))) return;
    details.close();
    await (body ? send(act, body) : sendAll(act, began));
    await refresh();
    if (!document.activeElement || document.activeElement === document.body) {
      document.getElementById("letters-title").focus({ preventScroll: true });
    }
  }

  function meant(button) {
    if (button.dataset.of === "all") return { words: button.dataset.words };
    if (button.dataset.of === "selected") {
      const number = chosen.size;
      return { words: `${number} dead letter${number === 1 ? "" : "s"}`, body: { keys: [...chosen] } };
    }
    const row = button.closest("[data-key]");
    return { words: row.dataset.name, body: { keys: [row.dataset.key] } };
  }

  function asked(act, what) {
    const { title, explain, go } = WORDS[act];
    confirm.querySelector("h2").textContent = title(what);
    confirm.querySelector("#confirm-words").textContent = explain;
    const button = confirm.querySelector("[data-go]");
    button.textContent = go;
    button.classList.toggle("is-danger", act === "drop");
    button.classList.toggle("is-primary", act !== "drop");
    confirm.returnValue = "";
    confirm.showModal();
    return new Promise((resolve) => {
      confirm.addEventListener("close", () => resolve(confirm.returnValue === "go"), { once: true });
    });
  }

  async function send(act, body) {
    try {
      tell(act, [await post(act, body)].flat());
    } catch (error) {
      tell(act, [], error.message);
    }
  }

  // Only what was parked before it began: a failure that comes back at once would never end.
  async function sendAll(act, began) {
    const address = new URLSearchParams(location.search);
    const filter = FILTER.filter((name) => address.get(name)).map((name) => [name, address.get(name)]);
    const ends = [];
    try {
      for (;;) {
        const passed = (performance.now() - began) / 1000;
        const age = Math.max(Number(address.get("older_than")), passed);
        const since = Number(address.get("newer_than"));
        const ages = { older_than: age, newer_than: since && since + passed };
        const body = { ...Object.fromEntries(filter), ...ages, limit: PORTION };
        const answer = await post(act, body);
        ends.push(...[answer].flat());
        if (!moved(answer)) break;
        tell(act, ends);
      }
      tell(act, ends);
    } catch (error) {
      tell(act, ends, error.message);
    }
  }

  function moved(answer) {
    if (Array.isArray(answer)) return answer.some((one) => one.outcome !== "refused");
    return answer.dropped > 0;
  }

  function tell(act, ends, trouble = "") {
    const note = document.createElement("p");
    const sentences = act === "drop" ? dropped(ends) : replayed(ends);
    if (trouble) sentences.push(`Not all went: ${trouble}`);
    const isFine = !trouble && !ends.some((one) => one.outcome === "refused");
    note.className = `note ${isFine ? "is-good" : "is-warn"}`;
    note.textContent = sentences.join(" ");
    document.getElementById("outcome").replaceChildren(note);
    chosen.clear();
  }

  async function look(link) {
    const response = await fetch(link.href);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const letter = fresh.getElementById("letter");
    if (!letter) return refresh();
    letter.querySelector(".dialog-head").append(copied("letter-close"));
    letter.append(copied("letter-foot"));
    Object.assign(details.dataset, letter.dataset);
    details.replaceChildren(...letter.childNodes);
    tellTimes(details);
    details.showModal();
    details.scrollTop = 0;
  }

  return { restore };
}

function copied(template) {
  return document.getElementById(template).content.cloneNode(true);
}

async function post(act, body) {
  const response = await fetch(`/v1/dead_letters/${act}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail ?? `The server answered ${response.status}.`);
  return answer;
}

function dropped(ends) {
  const count = ends.reduce((sum, one) => sum + one.dropped, 0);
  return [`${count} dropped.`];
}

function replayed(ends) {
  const of = (outcome) => ends.filter((one) => one.outcome === outcome);
  const sentences = [`${of("sent").length} sent again.`];
  const superseded = of("superseded").length;
  if (superseded) sentences.push(`${superseded} dropped, since a newer photo or a deletion came after.`);
  for (const one of of("refused")) sentences.push(`${one.key} stays: ${one.detail}.`);
  return sentences;
}
