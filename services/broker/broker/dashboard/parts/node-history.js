// What a node holds, what befell it, and the attempts that it had.
import { duration, milliseconds, moment, shortId, visible } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../vendor/view.js";
import { Empty } from "./notice.js";
import { OUTCOME } from "./words.js";

const Job = ({ id }) => html`<a class="mono" href=${link(["jobs", id])} title=${id}>${shortId(id)}</a>`;

export function Held({ held, now }) {
  if (!held.length) return html`<p class="quiet">It holds no job.</p>`;
  return html`<ul class="held">${held.map((one) => html`<li key=${one.fence}><${Job} id=${one.job_id} /> <span class="quiet">attempt ${one.attempt}, ${one.started_at ? `running for ${duration(Math.max(0, now - milliseconds(one.started_at)) / 1000)}` : "starting"}${one.cancel_requested ? ", to be cancelled" : ""}</span></li>`)}</ul>`;
}

export function Events({ history }) {
  if (!history.length) return html`<${Empty} title="Nothing yet" />`;
  return html`<ol class="history" tabindex="0" aria-label="What happened to the node, the newest first">${history.map((event, index) => html`<li key=${`${event.at}-${index}`} class=${`event-${event.kind}`}>
    <time datetime=${event.at}>${moment(event.at)}</time><span>${visible(event.text)}${event.by_name && html` <span class="quiet">by ${visible(event.by_name)}</span>`}</span></li>`)}</ol>`;
}

export function Attempts({ attempts, more }) {
  if (!attempts.length) return html`<${Empty} title="No attempts"><p>It has had no job that is still kept.</p></${Empty}>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts at this node"><table class="stack">
    <thead><tr><th scope="col">Job</th><th scope="col">Outcome</th><th scope="col" class="number">Claimed</th><th scope="col" class="number">Took</th><th scope="col" class="number">CPU</th></tr></thead>
    <tbody>${attempts.map((one) => html`<tr key=${`${one.job_id} ${one.fence}`}><th scope="row"><${Job} id=${one.job_id} />${one.attempt > 1 && html` <span class="quiet">attempt ${one.attempt}</span>`}</th>
      <td data-label="Outcome">${OUTCOME[one.outcome] ?? (one.outcome || "under way")}${one.failure && one.failure !== one.outcome && html` <span class="quiet">${one.failure}</span>`}</td>
      <td data-label="Claimed" class="number">${moment(one.claimed_at)}</td>
      <td data-label="Took" class="number">${one.ended_at ? duration((milliseconds(one.ended_at) - milliseconds(one.claimed_at)) / 1000) : "–"}</td>
      <td data-label="CPU" class="number">${one.usage.cpu_seconds === null ? "–" : duration(one.usage.cpu_seconds)}</td></tr>`)}</tbody></table></div>
    ${more && html`<p class="quiet">Older ones: GET /nodes/{id} with its next_cursor.</p>`}`;
}
