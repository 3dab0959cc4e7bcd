// Alt texts: written in place, saved and approved at once, one after the other by keys alone.

import { morph } from "./morph.js";

const main = document.getElementById("main");
const status = document.getElementById("status");

const fieldOf = (row) => row.querySelector("textarea");
const rowOf = (part) => part.closest(".text");
const rows = () => [...main.querySelectorAll(".text")];

// What the server has: what Escape brings back.
const saved = new WeakMap();

function begin() {
  for (const row of rows()) {
    const field = fieldOf(row);
    if (!saved.has(row)) saved.set(row, field.value);
    field.readOnly = false;
    show(row);
  }
}

function isChanged(row) {
  return fieldOf(row).value !== saved.get(row);
}

function show(row) {
  const field = fieldOf(row);
  const count = row.querySelector("[data-count]");
  // As the server counts: by characters, not by halves of them.
  const length = [...field.value.trim()].length;
  count.textContent = `${length} of ${count.dataset.most} characters`;
  count.classList.toggle("wrong", length > Number(count.dataset.most));
  const changed = isChanged(row);
  row.classList.toggle("is-changed", changed);
  row.querySelector("[data-undo]").hidden = !changed;
  row.querySelector("[data-approve]").hidden = !changed && row.dataset.state === "approved";
  row.querySelector("[data-words]").textContent = changed ? "Save and approve" : "Approve";
}

async function approve(row) {
  if (row.ariaBusy === "true") return;
  if (!isChanged(row) && row.dataset.state === "approved") return next(row);
  row.ariaBusy = "true";
  const { docid, product } = row.dataset;
  const address = `/v1/alt_texts/${encodeURIComponent(docid)}/${product}`;
  try {
    const text = fieldOf(row).value;
    const answer = isChanged(row)
      ? await ask("PUT", address, { alttag: text, approve: true })
      : await ask("POST", `${address}/approve`);
    if (!answer.ok) return refuse(row, answer.body);
    accept(row, answer.body);
    next(row);
  } catch {
    refuse(row, { detail: "The server does not answer; nothing was saved." });
  } finally {
    row.ariaBusy = null;
  }
}

async function ask(method, address, body) {
  const headers = body ? { "content-type": "application/json" } : {};
  const response = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
  return { ok: response.ok, body: await response.json() };
}

function accept(row, text) {
  if (row.dataset.state !== text.review_state) {
    count(row.dataset.state, -1);
    count(text.review_state, 1);
  }
  row.dataset.state = text.review_state;
  row.dataset.source = text.source;
  saved.set(row, text.alttag);
  fieldOf(row).value = text.alttag;
  row.querySelector("img").alt = text.alttag;
  blame(row, text.problems);
  show(row);
  status.textContent = `Approved: ${text.alttag}`;
}

function refuse(row, problem) {
  const sentences = problem.errors?.map((error) => error.detail) ?? [problem.detail];
  blame(row, sentences);
  status.textContent = `Not saved. ${sentences.join(" ")}`;
  fieldOf(row).focus();
}

function blame(row, sentences) {
  const items = sentences.map((sentence) => {
    const item = document.createElement("li");
    item.textContent = sentence;
    return item;
  });
  row.querySelector("[data-wrong]").replaceChildren(...items);
  if (items.length) fieldOf(row).setAttribute("aria-invalid", "true");
  else fieldOf(row).removeAttribute("aria-invalid");
}

function undo(row) {
  fieldOf(row).value = saved.get(row);
  blame(row, []);
  show(row);
  status.textContent = "Brought back";
}

// The next text, whatever its state; after the last one the way to the next page.
function next(row) {
  const following = row.nextElementSibling;
  const target = following ? fieldOf(following) : main.querySelector("[rel=next]");
  target?.focus();
  following?.scrollIntoView({ block: "nearest" });
}

function count(state, change) {
  const shown = main.querySelector(`[data-count-of="${state}"]`);
  const number = Number(shown?.textContent.replace(/\s/g, ""));
  if (Number.isFinite(number)) shown.textContent = number + change;
}

// Those that somebody is writing at are left alone.
async function approveAll(button) {
  const chosen = rows().filter((row) => row.dataset.state === "open" && !isChanged(row));
  const images = chosen.map(({ dataset }) => ({
    docid: dataset.docid,
    product_id: Number(dataset.product),
  }));
  if (!images.length) return;
  button.disabled = true;
  try {
    const answer = await ask("POST", "/v1/alt_texts/approve", { images });
    if (!answer.ok) return tell(answer.body.detail, "is-bad");
    const { approved, refused } = answer.body;
    const left = refused ? ` ${refused} not, since they break a rule or were changed meanwhile.` : "";
    tell(`${approved} approved.${left}`, refused ? "is-warn" : "is-good");
    await renew();
    document.getElementById("review-title").focus();
  } catch {
    tell("The server does not answer; nothing was approved.", "is-bad");
  } finally {
    button.disabled = false;
  }
}

// The list as it is now; a text that somebody is writing at stays as it stands there.
async function renew() {
  const response = await fetch(location.href);
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const selector of [".states", "#review"]) {
    const other = fresh.querySelector(selector);
    if (other) morph(main.querySelector(selector), other);
  }
  begin();
}

function tell(words, kind) {
  const note = document.createElement("p");
  note.className = `note ${kind}`;
  note.textContent = words;
  document.getElementById("outcome").replaceChildren(note);
  status.textContent = words;
}

main.addEventListener("input", (event) => {
  if (event.target.matches(".text textarea")) show(rowOf(event.target));
});

main.addEventListener("keydown", (event) => {
  if (!event.target.matches(".text textarea") || event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    approve(rowOf(event.target));
  } else if (event.key === "Escape" && isChanged(rowOf(event.target))) {
    undo(rowOf(event.target));
  }
});

main.addEventListener("click", (event) => {
  if (event.target.closest("[data-approve]")) approve(rowOf(event.target));
  if (event.target.closest("[data-undo]")) {
    undo(rowOf(event.target));
    fieldOf(rowOf(event.target)).focus();
  }
  const all = event.target.closest("[data-approve-all]");
  if (all) approveAll(all);
});

addEventListener("beforeunload", (event) => {
  if (rows().some(isChanged)) event.preventDefault();
});

begin();
