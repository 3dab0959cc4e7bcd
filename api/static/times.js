// Points in time in the reader's own words and time zone; the page says them in UTC.

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function tellTimes(part) {
  for (const time of part.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString();
    time.textContent = "clock" in time.dataset ? at.toLocaleTimeString() : since(at);
  }
}

function since(at) {
  const seconds = Math.max(0, (Date.now() - at) / 1000);
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
  return words.format(-Math.floor(seconds / length), unit);
}
