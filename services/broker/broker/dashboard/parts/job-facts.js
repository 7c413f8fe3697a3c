// What a job was submitted with, and what it used.
import { bytes, duration, moment, visible } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../vendor/view.js";
import { Label } from "./badge.js";
import { useNames } from "./timeline.js";

export function Facts({ job, input }) {
  const names = useNames();
  const usage = [...job.attempts].reverse().find((attempt) => attempt.usage.wall_seconds !== null)?.usage;
  const facts = [
    ["Language", job.interpreter],
    ["Submitted", moment(job.created_at)],
    ["Node", job.node_id && html`<a class="mono" href=${link(["nodes", job.node_id])}>${names.get(job.node_id) ?? job.node_id}</a>`],
    ["Run time", usage && duration(usage.wall_seconds)],
    ["CPU time", usage?.cpu_seconds != null ? duration(usage.cpu_seconds) : null],
    ["Memory, peak", usage?.memory_peak_bytes != null ? bytes(usage.memory_peak_bytes) : null],
    ["Exit code", job.exit_code],
    ["Priority", job.priority],
    ["Time limit", duration(job.timeout)],
    ["Memory limit", input?.memory_mb && `${input.memory_mb} MiB`],
    ["CPU limit", input?.cpu_seconds && duration(input.cpu_seconds)],
    ["Retries", `${job.max_retries} at most${input?.retry_on ? `, also after ${input.retry_on.join(", ")}` : ""}`],
    ["Verification", job.verify && `${job.verify.equal} of ${job.verify.quorum} equal results, ${job.verify.results} of at most ${job.verify.replicas} nodes gave one`],
    ["Submitter", job.submitter && html`<a href=${link("jobs", { submitter: job.submitter })}>${visible(job.submitter)}</a>`],
    ["Arguments", input?.args?.length ? html`<code>${visible(input.args.join(" "))}</code>` : null],
    ["Needs", needs(input?.requires)],
    ["Kept until", job.expires_at && moment(job.expires_at)],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    ${Object.keys(job.labels).length > 0 && html`<div><dt>Labels</dt><dd class="labels">${Object.entries(job.labels).map(([name, value]) => html`<${Label} key=${name} ...${{ name, value, href: link("jobs", { label: `${name}=${value}` }) }} />`)}</dd></div>`}
  </dl>`;
}

function needs(requires) {
  if (!requires) return null;
  const all = [requires.gpu && "GPU", requires.min_cpu_cores && `${requires.min_cpu_cores} cores`, requires.region, ...Object.entries(requires.labels ?? {}).map(([name, value]) => `${name}=${value}`)];
  return visible(all.filter(Boolean).join(", ")) || null;
}
