// In one sentence why a job waits or how it ended, and the limit that it ran into.
import { bytes, count, duration, visible } from "../lib/format.js";
import { useNow } from "../lib/hooks.js";
import { html } from "../vendor/view.js";
import { Sentence } from "./sentence.js";

export function Verdict({ job, verdict }) {
  const now = useNow(60_000);
  const sentence = job.explanation ?? ending(job);
  if (!sentence && !verdict?.limit) return null;
  return html`<div class=${`verdict is-${job.status}`}>
    ${sentence && html`<p class="verdict-text"><${Sentence} text=${sentence} now=${now} /></p>`}
    ${job.queue && html`<${Place} queue=${job.queue} />`}
    ${job.status === "failed" && verdict?.limit && html`<${Reached} limit=${verdict.limit} />`}
  </div>`;
}

function Place({ queue }) {
  return html`<dl class="facts inline place">
    ${queue.position != null && html`<div><dt>Position</dt><dd>${count(queue.position)}</dd></div>`}
    ${queue.ahead != null && html`<div><dt>Ahead</dt><dd>${queue.more ? "more than " : ""}${count(queue.ahead)}</dd></div>`}
    ${queue.estimate_seconds != null && html`<div><dt>Estimate</dt><dd>about ${duration(queue.estimate_seconds)}</dd></div>`}
  </dl>`;
}

// What the broker has no sentence for.
function ending(job) {
  if (job.status !== "completed") return null;
  return job.cached ? "An identical earlier job had this result: nothing was run." : null;
}

// A limit has the name and the unit of the manifest's field.
const NAMES = { memory_mb: "memory", timeout: "run time", cpu_seconds: "CPU time", disk_mb: "disk", output_mb: "output", file_size_mb: "one file's size", inodes: "number of files" };

function inUnit(name, value) {
  if (name.endsWith("_mb")) return bytes(Math.round(value * 1024 * 1024));
  return name === "timeout" || name.endsWith("_seconds") ? duration(value) : count(value);
}

// How much of the limit the program used, as far as it was measured.
function Reached({ limit }) {
  const show = (value) => inUnit(limit.name, value);
  const share = limit.value && limit.peak != null ? Math.min(1, limit.peak / limit.value) : null;
  return html`<div class="reached"><dl class="facts inline">
      <div><dt>Limit</dt><dd>${Object.hasOwn(NAMES, limit.name) ? NAMES[limit.name] : visible(limit.name)}${limit.value != null && `, ${show(limit.value)}`}</dd></div>
      ${limit.peak != null && html`<div><dt>Peak</dt><dd>${show(limit.peak)}</dd></div>`}</dl>
    ${share !== null && html`<span class="load-bar" role="img" aria-label=${`${Math.round(share * 100)} % of the limit`}><span style=${{ width: `${share * 100}%` }}></span></span>`}
  </div>`;
}
