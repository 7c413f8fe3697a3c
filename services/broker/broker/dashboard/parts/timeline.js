// A job's life as bars on one line of time: waiting, then each attempt at its node. The bars are for the eye; the words beside them say the same.
import { clock, duration, milliseconds, shortId, visible } from "../lib/format.js";
import { useLive, useNow } from "../lib/hooks.js";
import { link } from "../lib/router.js";
import { html } from "../vendor/view.js";
import { OUTCOME } from "./words.js";

export function Timeline({ job }) {
  const now = useNow(500);
  const names = useNames();
  const begin = milliseconds(job.created_at);
  const end = Math.max(milliseconds(job.completed_at) ?? now, begin + 1);
  const place = (time) => `${(Math.min(Math.max((time - begin) / (end - begin), 0), 1) * 100).toFixed(2)}%`;
  const steps = stepsOf(job, begin, end);
  return html`<ol class="timeline">${steps.map((step) => html`<li key=${step.key} class=${`step ${step.kind}`}>
      <div class="step-text"><b>${step.title}</b> ${step.node && html`<a class="mono" href=${link(["nodes", step.node])}>${names.get(step.node) ?? shortId(step.node)}</a>`}<span class="step-time">${duration((step.to - step.from) / 1000)}</span></div>
      <div class="track" aria-hidden="true">${step.waitedFrom !== undefined && html`<span class="bar-waiting" style=${span(place, step.waitedFrom, step.from)}></span>`}${step.started !== undefined && html`<span class="bar-assigned" style=${span(place, step.from, step.started)}></span>`}<span class=${`bar-${step.bar}`} style=${span(place, step.started ?? step.from, step.to)}></span></div>
      <p class="step-note">${step.note}${step.waited !== undefined && html`<span class="quiet"> · waited ${duration(step.waited / 1000)}</span>`}</p>
    </li>`)}</ol>
    <p class="axis" aria-hidden="true"><span>${clock(begin)}</span><span>${job.completed_at ? clock(end) : "now"}</span></p>`;
}

const span = (place, from, to) => ({ left: place(from), right: `calc(100% - ${place(to)})` });

// Each attempt with the time that the job had waited for it; then what it waits now.
function stepsOf(job, begin, end) {
  const steps = [];
  let free = begin;
  for (const attempt of job.attempts) {
    const claimed = milliseconds(attempt.claimed_at);
    const to = milliseconds(attempt.ended_at) ?? end;
    steps.push({ ...attemptStep(attempt, claimed, to), waitedFrom: free, waited: claimed - free });
    free = to;
  }
  if (!job.attempts.length || (job.status === "pending" && free < end)) steps.push(waitStep(free, end, "last", job.completed_at));
  return steps;
}

function waitStep(from, to, key, ended) {
  return { key: `wait-${key}`, kind: "is-waiting", title: ended ? "Never ran" : "Waiting", bar: "waiting", from, to, note: null };
}

function attemptStep(attempt, from, to) {
  const outcome = outcomeOf(attempt);
  const started = milliseconds(attempt.started_at);
  const state = outcome ?? (started ? "running" : "assigned");
  return {
    key: `attempt-${attempt.fence}`,
    kind: `is-${state}`,
    title: `Attempt ${attempt.attempt}`,
    node: attempt.node_id,
    bar: state,
    from,
    to,
    started: started === null ? undefined : started,
    note: noteOf(attempt),
  };
}

// A cancelled program has failed in the node's eyes; people see it otherwise.
const outcomeOf = (attempt) => (attempt.failure === "cancelled" ? "cancelled" : attempt.outcome);

function noteOf(attempt) {
  const { usage } = attempt;
  const outcome = outcomeOf(attempt);
  const said = [outcome ? OUTCOME[outcome] ?? outcome : attempt.started_at ? "running now" : "handed over, starting"];
  if (attempt.failure && attempt.failure !== outcome && attempt.failure !== "exit") said.push(attempt.failure);
  if (attempt.exit_code !== null) said.push(`exit ${attempt.exit_code}`);
  if (usage.cpu_seconds !== null) said.push(`${duration(usage.cpu_seconds)} CPU`);
  if (attempt.message) said.push(visible(attempt.message));
  return said.join(" · ");
}

// Names of nodes as far as the overview lists them.
export function useNames() {
  const { overview } = useLive();
  return new Map(overview?.nodes.list.filter((node) => node.name).map((node) => [node.id, visible(node.name)]));
}
