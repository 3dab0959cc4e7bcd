// The operations view asks for itself anew every few seconds and puts in place what has changed.

import { watchDeadLetters } from "./dead_letters.js";
import { closeDialogs } from "./dialogs.js";
import { morph } from "./morph.js";
import { tellTimes } from "./times.js";

const EVERY = 4000;
const LONGEST = 60000;

const main = document.getElementById("main");
const status = document.getElementById("status");
const lost = main.querySelector("[data-lost]");
const pause = main.querySelector("[data-pause]");

let timer = 0;
let running = null;
let failures = 0;
let seen = new Date();
let news = status.dataset.news;

const letters = watchDeadLetters(main, refresh);

// Of the address that the page has now; resolves when it shows what the server says.
async function refresh() {
  clearTimeout(timer);
  running?.abort();
  const own = (running = new AbortController());
  try {
    const response = await fetch(location.href, { signal: own.signal });
    if (!response.ok) throw new Error(`The server answered ${response.status}.`);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (own !== running) return;
    show(fresh);
    failures = 0;
    seen = new Date();
  } catch (error) {
    if (error.name === "AbortError") return;
    failures += 1;
    lose(error);
  }
  if (own === running) wait();
}

function show(fresh) {
  for (const own of main.children) {
    const other = fresh.querySelector(`[data-part="${own.dataset.part}"]`);
    if (own.dataset.part && other) morph(own, other);
  }
  lost.hidden = true;
  tellTimes(main);
  letters.restore();
  announce(fresh.getElementById("status").dataset.news);
}

// Said aloud only when something happened that somebody has to know of.
function announce(fresh) {
  if (fresh === news) return;
  news = fresh;
  status.textContent = fresh;
}

function lose(error) {
  lost.textContent = `Not up to date since ${seen.toLocaleTimeString()}: ${error.message} Trying again.`;
  lost.hidden = false;
}

function wait() {
  if (isPaused() || document.hidden) return;
  timer = setTimeout(refresh, Math.min(EVERY * 2 ** failures, LONGEST));
}

function isPaused() {
  return pause.getAttribute("aria-pressed") === "true";
}

pause.addEventListener("click", () => {
  const paused = !isPaused();
  pause.setAttribute("aria-pressed", String(paused));
  if (paused) clearTimeout(timer);
  else refresh();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!isPaused()) refresh();
});

addEventListener("popstate", refresh);

tellTimes(main);
closeDialogs();
wait();
