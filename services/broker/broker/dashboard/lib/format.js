// Numbers, sizes and times as people read them. Everything is text; nothing here knows of the page.
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const count = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

// 0.0042 -> "4.2 ms"; 75 -> "1 m 15 s".
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 0.9995) return `${significant(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${significant(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return pair(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "m");
  return pair(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

const pair = (large, largeUnit, small, smallUnit) => `${large} ${largeUnit}${small ? ` ${small} ${smallUnit}` : ""}`;
const significant = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(value < 1 ? 1 : 2).replace(/\.?0+$/, ""));

// "12 s ago"; in whole seconds, so that a page that ticks does not flicker.
export function ago(milliseconds, now) {
  const seconds = Math.max(0, Math.floor((now - milliseconds) / 1000));
  return seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

export function bytes(size) {
  if (size === null || size === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let amount = size;
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 || amount >= 100 ? amount.toFixed(0) : amount.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

export const clock = (time) => (time === null || time === undefined ? "–" : CLOCK.format(new Date(time)));
export const moment = (time) => (time ? FULL.format(new Date(time)) : "–");
export const milliseconds = (iso) => (iso ? Date.parse(iso) : null);
export const percent = (share) => `${share > 0 && share < 0.1 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;

// A name as it can be read: what turns text around, breaks its line or has no width is told by its number, as in the output.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;
export const visible = (name) => String(name ?? "").replace(UNSEEN, (one) => `<${one.codePointAt(0).toString(16).toUpperCase().padStart(2, "0")}>`);

// The part of a job's id that tells it from others: UUIDs begin with the time, and jobs of one moment begin alike.
export const shortId = (id) => (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id ?? "") ? id.slice(-12) : id);
