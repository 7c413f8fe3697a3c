// The one stream of news (GET /events) that a page holds: the overview, which jobs changed, and whether the broker is there.
//
// It is closed while nobody looks at the page: browsers allow six connections to a host, for all tabs together.
import { get } from "./api.js";

const SILENT_MS = 8_000; // an overview comes every two seconds
const HIDDEN_MS = 20_000;
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

export const live = {
  state: "connecting", // or "live", "lost", "paused"
  overview: null,
  since: 0, // when the broker was last heard, in performance.now() milliseconds
  epoch: 0, // counts interruptions: what was shown before one may be out of date
  skew: 0, // the broker's clock minus ours, milliseconds
};

const stateListeners = new Set();
const jobListeners = new Set();
let source = null;
let failures = 0;
let wanted = false;
let retry = 0;
let watchdog = 0;
let hiding = 0;

export const now = () => Date.now() + live.skew;

export function onState(listener) {
  stateListeners.add(listener);
  return () => stateListeners.delete(listener);
}

// The listener gets ([[id, status], …], more).
export function onJobs(listener) {
  jobListeners.add(listener);
  return () => jobListeners.delete(listener);
}

export function start() {
  wanted = true;
  if (!source) connect();
}

export function stop() {
  wanted = false;
  disconnect();
}

function tell(state) {
  if (state) live.state = state;
  for (const listener of stateListeners) listener();
}

function heard() {
  live.since = performance.now();
  clearTimeout(watchdog);
  watchdog = setTimeout(lost, SILENT_MS);
}

function connect() {
  clearTimeout(retry);
  disconnect();
  source = new EventSource("/events?topics=jobs,overview");
  watchdog = setTimeout(lost, SILENT_MS);
  source.addEventListener("overview", (event) => {
    heard();
    live.overview = JSON.parse(event.data);
    live.skew = Date.parse(live.overview.time) - Date.now();
    failures = 0;
    if (live.state === "lost" || live.state === "paused") live.epoch += 1;
    tell("live");
  });
  source.addEventListener("jobs", (event) => {
    heard();
    const { jobs, more } = JSON.parse(event.data);
    for (const listener of jobListeners) listener(jobs, more);
  });
  source.addEventListener("error", lost);
}

function disconnect() {
  clearTimeout(watchdog);
  clearTimeout(retry);
  source?.close();
  source = null;
}

function lost() {
  disconnect();
  if (!wanted) return;
  tell("lost");
  const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  retry = setTimeout(async () => {
    // An EventSource does not say why it failed: a login that is over answers here, and is shown as such.
    await get("/session").then((who) => who.auth && !who.role && get("/overview")).catch(() => null);
    if (wanted && !source) connect();
  }, pause);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      if (!wanted || !source) return;
      disconnect();
      tell("paused");
    }, HIDDEN_MS);
  } else if (wanted && !source) {
    failures = 0;
    connect();
  }
});
addEventListener("online", () => wanted && live.state === "lost" && connect());
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => event.persisted && wanted && connect());
