// A photo on its way: sent to the API, then seen going through the stages.

import { words } from "./requests.js";

const WAITS = "";
const ENDED = new Set(["done", "unchanged", "failed"]);
const TAG = "image_tag_process";
const DESCRIBE = "image_relevance_process";

export class Photo {
  constructor(file) {
    this.file = file;
    this.state = "chosen"; // chosen, sending, following, done, failed, unsent
    this.element = document.getElementById("photo").content.cloneNode(true).firstElementChild;
    const picture = this.element.querySelector(".photo-picture");
    picture.src = URL.createObjectURL(file);
    picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
    picture.addEventListener("error", () => picture.removeAttribute("src"), { once: true });
    this.element.querySelector(".photo-name").textContent = file.name;
    this.element.querySelector(".photo-size").textContent = size(file.size);
    this.part("remove").setAttribute("aria-label", `Leave out ${file.name}`);
    this.part("retry").setAttribute("aria-label", `Try again: ${file.name}`);
    this.mark("Ready");
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  get isOver() {
    return this.state === "done" || this.state === "failed";
  }

  // Between 0 and 1: how far it is.
  get share() {
    if (this.isOver) return 1;
    return this.state === "following" ? (1 + this.ended) / 7 : 0;
  }

  // Sends the bytes; afterwards the photo is followed, or unsent with its reason.
  send(business) {
    this.business = business;
    this.state = "sending";
    this.ended = 0;
    this.part("remove").hidden = this.part("retry").hidden = true;
    this.say("");
    const bytes = this.element.querySelector("progress");
    bytes.value = 0;
    bytes.hidden = false;
    bytes.setAttribute("aria-label", `Bytes of ${this.file.name} sent, per cent`);
    this.mark("Uploading", "is-busy");
    const form = new FormData();
    form.set("docid", business.docid);
    form.set("file", this.file);
    const request = new XMLHttpRequest();
    return new Promise((resolve) => {
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        bytes.value = (100 * loaded) / total;
        this.mark(`Uploading ${Math.round(bytes.value)} %`, "is-busy");
      });
      request.addEventListener("loadend", () => {
        bytes.hidden = true;
        if (request.status === 202) this.follow(JSON.parse(request.responseText));
        else this.unsent(request.status ? words(request.status, request.responseText) : "");
        resolve();
      });
      request.open("POST", "/v1/images");
      request.send(form);
    });
  }

  follow({ product_id: productId }) {
    this.state = "following";
    this.productId = productId;
    this.element.querySelector(".stages").hidden = false;
    this.mark("In the queue", "is-busy");
  }

  unsent(reason) {
    this.state = "unsent";
    this.mark("Not sent", "is-bad");
    this.say(reason || "The connection was lost.");
    this.part("retry").hidden = this.part("remove").hidden = false;
  }

  // Shows where the photo is; returns whether anything has changed since the last time.
  show({ state, failure, stages }) {
    const before = `${this.state} ${this.ended}`;
    const first = stages.find(({ outcome }) => outcome === WAITS)?.stage;
    for (const { stage, outcome, detail } of stages) {
      const item = this.element.querySelector(`[data-stage="${stage}"]`);
      const runs = state === "queued" && (stage === first || (first === TAG && stage === DESCRIBE));
      const busy = runs && outcome === WAITS;
      item.className = ENDED.has(outcome) ? `is-${outcome}` : busy ? "is-busy" : "";
      item.querySelector("[data-word]").textContent = `: ${outcome || (busy ? "running" : "waiting")}`;
      item.title = detail;
    }
    this.ended = stages.filter(({ outcome }) => outcome !== WAITS).length;
    const failed = stages.filter(({ outcome }) => outcome === "failed");
    if (state === "done") {
      this.state = "done";
      this.outcome = failed.length ? "Done, in part" : "Done";
      this.mark(this.outcome, failed.length ? "is-warn" : "is-good");
      this.trouble = failed.map(({ detail }) => detail).join(" ");
      this.say(this.trouble);
    } else if (state === "failed" || state === "deleted") {
      this.state = "failed";
      this.mark(state === "failed" ? "Failed" : "Deleted", "is-bad");
      // Without the name of the exception, which stands before it.
      this.say(failure.replace(/^[A-Z]\w+: /, ""));
    } else if (this.ended) {
      const item = this.element.querySelector(`[data-stage="${first}"]`);
      this.mark(item?.dataset.running ?? "Finishing", "is-busy");
    }
    return before !== `${this.state} ${this.ended}`;
  }

  // What the catalogue says of a photo that is through; what has failed is said beside it.
  describe({ alt, valid, reasons, quality }) {
    const known = valid
      ? `“${alt}” Quality ${Math.round(quality)} of 100.`
      : reasons.map(({ detail }) => detail).join(" ");
    const isGood = valid && this.outcome === "Done";
    this.mark(valid ? this.outcome : `${this.outcome}, not shown`, isGood ? "is-good" : "is-warn");
    this.say(`${known} ${this.trouble}`);
  }

  mark(text, kind = "") {
    const tag = this.part("state");
    tag.textContent = text;
    tag.className = `tag ${kind}`;
  }

  say(text) {
    const paragraph = this.element.querySelector(".photo-words");
    paragraph.textContent = text;
    paragraph.hidden = !text;
  }
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
