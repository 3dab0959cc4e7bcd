// Asks where photos are, the sooner again the more they move.

import { answer } from "./requests.js";

const SHORTEST = 500;
const LONGEST = 5000;
const SLOWER = 1.4;
// Photos come through in about the order in which they were sent: the first ones are asked for.
const AT_A_TIME = 12;

let running = false;

// Goes on until all photos are over; calls `moved` with each that has come further, once all that
// is known of it is on the page.
export async function follow(photos, moved) {
  if (running) return;
  running = true;
  let pause = SHORTEST;
  try {
    for (let open = following(photos); open.length; open = following(photos)) {
      await seen();
      const steps = await Promise.all(open.slice(0, AT_A_TIME).map(look));
      pause = steps.some(Boolean) ? SHORTEST : Math.min(LONGEST, pause * SLOWER);
      // All of them again: a photo is hidden when a better one of the same thing comes through.
      if (open.some(isDone)) await describe(photos.filter(isDone));
      open.filter((_, place) => steps[place]).forEach(moved);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  } finally {
    running = false;
  }
}

function following(photos) {
  return photos.filter(({ state }) => state === "following");
}

function isDone({ state }) {
  return state === "done";
}

// Whether the photo has come further.
async function look(photo) {
  try {
    return photo.show(await answer(`/v1/images/${photo.business.docid}/${photo.productId}`));
  } catch {
    // It is asked for again, later.
    return false;
  }
}

// What the catalogue says of those that have come through: one question for each business.
async function describe(photos) {
  for (const docid of new Set(photos.map(({ business }) => business.docid))) {
    try {
      const { images } = await answer(`/v1/catalogue/${docid}/images`);
      const known = new Map(images.map((image) => [image.product_id, image]));
      for (const photo of photos) {
        const image = photo.business.docid === docid && known.get(photo.productId);
        if (image) photo.describe(image);
      }
    } catch {
      // They are done all the same.
    }
  }
}

// Resolves at once, or when somebody looks at the page again.
function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) =>
    document.addEventListener("visibilitychange", resolve, { once: true }),
  );
}
