// The pool in one line, in sight on every page: whether the broker is there, what waits and what runs.
import { clock, count } from "../lib/format.js";
import { useLive } from "../lib/hooks.js";
import { html } from "../vendor/view.js";

const WORDS = { connecting: "connecting", live: "live", lost: "no answer", paused: "paused" };

export function PoolLine() {
  const { state, overview } = useLive();
  return html`<div class="pool-line">
    <span class=${`pulse is-${state}`}><span class="dot" aria-hidden="true"></span>${WORDS[state]}</span>
    ${overview && html`<span>${count(overview.jobs.pending)} waiting</span>
      <span>${count(overview.nodes.slots_used)} / ${count(overview.nodes.slots)} slots</span>`}
  </div>`;
}

export function LostBanner() {
  const { state, overview } = useLive();
  if (state !== "lost") return null;
  return html`<div class="lost" role="alert">The broker does not answer; trying again. ${overview && html`What you see is from ${clock(overview.time)}.`}</div>`;
}
