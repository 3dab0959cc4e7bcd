// Uploading photos: a business, files, their way through the stages.

import { chooseBusiness } from "./business.js";
import { follow } from "./follow.js";
import { Photo, size } from "./photo.js";

const AT_A_TIME = 3;

const page = document.getElementById("upload");
const types = new Set(page.dataset.types.split(" "));
const mostBytes = Number(page.dataset.mostBytes);
const list = document.getElementById("photos");
const status = document.getElementById("status");
const photos = [];
let business = null;
let said = "";

chooseBusiness(document.getElementById("business"), (chosen) => {
  business = chosen;
  refresh();
});

watchDrops(document.getElementById("drop"), add);
document.querySelector("[data-go]").addEventListener("click", send);
addEventListener("beforeunload", (event) => {
  if (photos.some(({ state }) => state === "sending")) event.preventDefault();
});

// Files that cannot be taken are named with their reasons, and the others are listed.
function add(files) {
  const refused = [];
  for (const file of files) {
    const reason = trouble(file);
    if (reason) refused.push(`${file.name}: ${reason}`);
    else photos.push(listed(new Photo(file)));
  }
  document.getElementById("refused").replaceChildren(
    ...refused.map((words) => {
      const item = document.createElement("li");
      item.textContent = words;
      return item;
    }),
  );
  refresh();
}

function trouble(file) {
  if (!file.size) return "the file is empty.";
  if (!types.has(file.type)) return `${kind(file)} cannot be read. Save it as JPEG, PNG or WebP.`;
  if (file.size > mostBytes) return `${size(file.size)} is too much, the limit is ${size(mostBytes)}.`;
  const same = ({ file: other }) =>
    other.name === file.name && other.size === file.size && other.lastModified === file.lastModified;
  return photos.some(same) ? "it is in the list already." : "";
}

function kind(file) {
  const ending = file.name.split(".").pop();
  return file.name.includes(".") ? `a .${ending} file` : "a file of this kind";
}

function listed(photo) {
  list.append(photo.element);
  photo.part("remove").addEventListener("click", () => {
    const next = photo.element.nextElementSibling ?? photo.element.previousElementSibling;
    photos.splice(photos.indexOf(photo), 1);
    photo.element.remove();
    (next?.querySelector("[data-remove]:not([hidden])") ?? document.getElementById("files")).focus();
    refresh();
  });
  photo.part("retry").addEventListener("click", async () => {
    await sendOne(photo);
  });
  return photo;
}

async function send() {
  if (!business) return document.getElementById("business-name").focus();
  const waiting = photos.filter(({ state }) => state === "chosen");
  const lane = async () => {
    for (let photo = waiting.shift(); photo; photo = waiting.shift()) await sendOne(photo);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, lane));
}

async function sendOne(photo) {
  const sent = photo.send(photo.business ?? business);
  refresh();
  await sent;
  if (photo.state === "unsent") announce(`${photo.file.name} was not sent.`);
  refresh();
  follow(photos, (moved) => {
    if (moved.isOver) announce(`${moved.file.name}: ${moved.part("state").textContent}.`);
    refresh();
  });
}

// Brings the button and the summary up to date.
function refresh() {
  const ready = photos.filter(({ state }) => state === "chosen").length;
  const go = document.getElementById("go");
  go.hidden = !ready;
  const button = go.querySelector("button");
  button.textContent = `Upload ${count(ready)}`;
  button.setAttribute("aria-disabled", String(!business));
  go.querySelector("[data-go-hint]").textContent = business
    ? `They will be shown for ${business.name}.`
    : "First choose the business.";

  const sent = photos.filter(({ state }) => state !== "chosen");
  const over = sent.filter(({ isOver }) => isOver).length;
  const failed = sent.filter(({ state }) => state === "failed" || state === "unsent").length;
  const finish = document.getElementById("finish");
  finish.hidden = !sent.length;
  if (!sent.length) return;
  const all = over === sent.length;
  const trouble = failed ? `, ${failed} of them in vain` : "";
  document.getElementById("finish-title").textContent = all
    ? `${count(sent.length)} ${sent.length === 1 ? "is" : "are"} through${trouble}`
    : `${over} of ${count(sent.length)} through${trouble}`;
  const bar = document.getElementById("finish-progress");
  bar.value = sent.reduce((sum, { share }) => sum + share, 0) / sent.length;
  bar.hidden = all;
  const done = sent.find(({ state }) => state === "done");
  const link = document.getElementById("finish-link");
  link.hidden = !done;
  if (done) {
    link.href = `/?${new URLSearchParams({ query: done.business.name })}`;
    link.textContent = `See ${done.business.name}`;
  }
  if (all) announce(document.getElementById("finish-title").textContent);
}

function announce(words) {
  if (words !== said) status.textContent = said = words;
}

function count(number) {
  return `${number} ${number === 1 ? "photo" : "photos"}`;
}

function watchDrops(zone, take) {
  const input = zone.querySelector("input");
  input.addEventListener("change", () => {
    take(input.files);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      zone.classList.add("is-over");
    });
  }
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("is-over");
  });
  // A photo that misses the zone would otherwise take the place of the page.
  addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    zone.classList.remove("is-over");
    take(event.dataTransfer.files);
  });
}
