// All nodes, in sight a part of them: thousands stay quick.
import { get } from "../lib/api.js";
import { count, plural } from "../lib/format.js";
import { useAnswer, useNow, useTitle } from "../lib/hooks.js";
import { shown } from "../lib/nodes.js";
import { go, link } from "../lib/router.js";
import { Choice } from "../parts/field.js";
import { Icon } from "../parts/icon.js";
import { NodeRows } from "../parts/node-rows.js";
import { Empty, Loading, Problem } from "../parts/notice.js";
import { html, useEffect, useState } from "../vendor/view.js";

const ASK_MS = 4_000;
const ASK_SELDOM_MS = 15_000;
const LARGE = 200; // nodes; the answer has half a kilobyte for each
const MANY = 100;
const MORE = [
  ["Completed", (node) => count(node.jobs_completed), true],
  ["Failed", (node) => count(node.jobs_failed), true],
  ["Languages", (node) => (node.capabilities.interpreters ?? []).join(", ")],
];

export function Page({ route }) {
  useTitle("Nodes");
  const { data, error, reload } = useAnswer((signal) => get("/nodes", { signal }), []);
  const now = useNow(2_000);
  const [text, setText] = useState("");
  const [most, setMost] = useState(MANY);
  const { state } = route.query;
  const many = data?.nodes.length > LARGE;
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), many ? ASK_SELDOM_MS : ASK_MS);
    return () => clearInterval(timer);
  }, [many]);
  if (!data) return html`<h1>Nodes</h1>${error ? html`<${Problem} error=${error} retry=${reload} />` : html`<${Loading} what="nodes" />`}`;
  const all = data.nodes.map((node) => shown(node, now));
  const counts = Object.groupBy ? Object.groupBy(all, (node) => node.state) : {};
  const wanted = text.toLowerCase();
  const found = all.filter((node) => (!state || node.state === state) && (!wanted || `${node.id} ${node.name ?? ""} ${node.version ?? ""}`.toLowerCase().includes(wanted)));
  const options = [["", `All ${count(all.length)}`], ...["active", "draining", "silent"].map((one) => [one, `${one} ${count(counts[one]?.length ?? 0)}`])];
  return html`<header class="page-head"><h1>Nodes</h1></header>
    ${error && html`<${Problem} error=${error} />`}
    ${!all.length ? html`<${Empty} title="No node has come yet"><p>Start one: <code>docker compose up --scale node=3</code>. It registers by itself.</p></${Empty}>` : html`
    <search class="filters"><div class="filters-main"><${Choice} label="State" value=${state ?? ""} options=${options} onValue=${(one) => go(link("nodes", { state: one }))} />
      <div class="search"><${Icon} name="search" /><label class="unseen" for="search">Search names, ids and versions</label><input id="search" type="search" placeholder="Name, id or version" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></div></div></search>
    ${found.length ? html`<section class="panel" aria-label="Nodes"><${NodeRows} nodes=${found.slice(0, most)} label="Table of nodes" more=${MORE} /></section>` : html`<${Empty} title="No node matches" />`}
    ${found.length > most && html`<p class="pager"><span class="quiet">${plural(found.length - most, "further node")}</span><button type="button" class="button" onClick=${() => setMost(most + MANY)}>Show ${count(Math.min(MANY, found.length - most))} more</button></p>`}`}`;
}
