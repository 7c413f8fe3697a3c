// What keys may take, have taken, and used today; and daily rows to download.
import { get, query } from "../lib/api.js";
import { bytes, count, duration, visible } from "../lib/format.js";
import { useAnswer } from "../lib/hooks.js";
import { html, useState } from "../vendor/view.js";
import { TextField } from "./field.js";
import { Icon } from "./icon.js";
import { Empty, Problem } from "./notice.js";
import { LIMIT } from "./words.js";

export function Usage() {
  const { data, error, reload } = useAnswer((signal) => get("/usage", { signal }), []);
  return html`<section class="panel" aria-labelledby="usage-title"><header class="panel-head"><h2 id="usage-title">Limits and today's usage</h2><span class="spring"></span><button type="button" class="button small" onClick=${reload}><${Icon} name="again" />Look again</button></header>
    ${error && html`<${Problem} error=${error} retry=${reload} />`}
    ${data && !data.owners.length && html`<${Empty} title="Nothing to show" />`}
    ${data?.owners.map((owner) => html`<${Owner} key=${owner.owner} owner=${owner} />`)}
    <${Export} />
  </section>`;
}

function Owner({ owner }) {
  return html`<article class="owner"><h3>${owner.name ? visible(owner.name) : "without a name"} <small class="mono">${owner.owner}</small></h3>
    <dl class="meters">${Object.entries(owner.limits).map(([name, { limit, used }]) => html`<${Meter} key=${name} ...${{ name, limit, used }} />`)}</dl>
    ${owner.today.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${`Usage of ${owner.name} today`}><table>
      <thead><tr><th scope="col">Outcome</th><th scope="col" class="number">Count</th><th scope="col" class="number">CPU</th><th scope="col" class="number">Wall</th><th scope="col" class="number">In</th><th scope="col" class="number">Out</th></tr></thead>
      <tbody>${owner.today.map((row) => html`<tr key=${row.outcome}><th scope="row">${row.outcome}</th><td class="number">${count(row.count)}</td><td class="number">${duration(row.cpu_seconds)}</td><td class="number">${duration(row.wall_seconds)}</td><td class="number">${bytes(row.bytes_in)}</td><td class="number">${bytes(row.bytes_out)}</td></tr>`)}</tbody></table></div>`}
  </article>`;
}

function Meter({ name, limit, used }) {
  const show = name === "stored_bytes" ? bytes : (value) => count(value);
  const share = limit && used !== null ? Math.min(1, used / limit) : null;
  return html`<div><dt>${LIMIT[name] ?? name.replaceAll("_", " ")}</dt><dd>${used === null ? "–" : show(used)}<small>${limit ? ` of ${show(limit)}` : ", no limit"}</small>
    ${share !== null && html`<span class=${`load-bar ${share > 0.9 ? "full" : ""}`} aria-hidden="true"><span style=${{ width: `${share * 100}%` }}></span></span>`}</dd></div>`;
}

const day = (offset) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);

function Export() {
  const [from, setFrom] = useState(day(-29));
  const [to, setTo] = useState(day(0));
  return html`<div class="export fields"><${TextField} id="export-from" label="From" type="date" value=${from} onValue=${setFrom} />
    <${TextField} id="export-to" label="To" type="date" value=${to} onValue=${setTo} />
    <a class="button" href=${`/usage/export${query({ from, to, format: "csv" })}`} download><${Icon} name="download" />Daily rows as CSV</a></div>`;
}
