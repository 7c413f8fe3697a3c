// One node: what it offers, what it has done, and whether it takes jobs.
import { get, part, post } from "../lib/api.js";
import { announce } from "../lib/announce.js";
import { ago, count, milliseconds, moment, shortId, visible } from "../lib/format.js";
import { useAnswer, useNow, useTitle } from "../lib/hooks.js";
import { shown } from "../lib/nodes.js";
import { link } from "../lib/router.js";
import { NodeBadge } from "../parts/badge.js";
import { Copy } from "../parts/copy.js";
import { Attempts, Events, Held } from "../parts/node-history.js";
import { Loading, Problem } from "../parts/notice.js";
import { useAdmin } from "../parts/session.js";
import { Slots } from "../parts/slots.js";
import { html, useEffect, useState } from "../vendor/view.js";

const ASK_MS = 3_000;

export function Page({ route }) {
  const id = route.parts[1];
  useTitle(`Node ${shortId(id)}`);
  const { data, error, reload } = useAnswer((signal) => get(`/nodes/${part(id)}`, { signal }), [id]);
  const now = useNow();
  useEffect(() => {
    const timer = setInterval(() => document.hidden || reload(), ASK_MS);
    return () => clearInterval(timer);
  }, []);
  if (!data) return html`<h1>Node</h1>${error ? html`<${Problem} error=${error} retry=${reload} />` : html`<${Loading} what="the node" />`}`;
  const node = shown(data, now);
  return html`<header class="page-head job-head">
      <div><p class="crumbs"><a href="#/nodes">Nodes</a></p><h1>Node <span class="mono">${visible(node.name || shortId(id))}</span><${Copy} text=${id} label="Copy the node's id" /></h1></div>
      <div class="actions"><${NodeBadge} state=${node.state} /><${Drain} node=${node} onDone=${reload} /><a class="button" href=${link("jobs", { node: id })}>Its jobs</a></div>
    </header>
    ${error && html`<${Problem} error=${error} />`}
    <div class="halves">
      <section class="panel" aria-labelledby="now-title"><h2 id="now-title">Now</h2><dl class="facts">
        <div><dt>Slots</dt><dd><${Slots} slots=${node.slots} held=${node.held} state=${node.state} /></dd></div>
        <div><dt>Heartbeat</dt><dd>${ago(milliseconds(node.last_heartbeat), now)}</dd></div>
        <div><dt>Jobs completed</dt><dd>${count(node.jobs_completed)}</dd></div>
        <div><dt>Jobs failed</dt><dd>${count(node.jobs_failed)}</dd></div>
        <div><dt>Session</dt><dd>number ${node.session_number}${node.session.began_at && `, since ${moment(node.session.began_at)}`}</dd></div>
        <div><dt>Link</dt><dd>${node.linked ? "open" : "closed: news reaches it with its heartbeats"}</dd></div>
        ${node.session.joined_with && html`<div><dt>Joined with</dt><dd class="mono">${node.session.joined_with}</dd></div>`}
      </dl><h3 class="below">Jobs it holds</h3><${Held} held=${data.held} now=${now} /></section>
      <section class="panel" aria-labelledby="offer-title"><h2 id="offer-title">Offers</h2><${Offer} node=${node} /></section>
    </div>
    <div class="halves">
      <section class="panel" aria-labelledby="history-title"><h2 id="history-title">History</h2><${Events} history=${data.history} /></section>
      <section class="panel" aria-labelledby="attempts-title"><h2 id="attempts-title">Attempts</h2><${Attempts} attempts=${data.attempts} more=${data.next_cursor} /></section>
    </div>`;
}

// What a node says of itself, in its own words; it may say anything.
function Offer({ node }) {
  const { isolation, interpreters, interpreter_versions: versions, ...rest } = node.capabilities;
  const languages = (interpreters ?? []).map((name) => (versions?.[name] ? `${name} ${versions[name]}` : name));
  const others = Object.entries(rest).map(([name, value]) => [name.replaceAll("_", " "), written(value)]).filter(([, value]) => value);
  return html`<dl class="facts">
    <div><dt>Version</dt><dd>${visible(node.version ?? "–")}</dd></div>
    <div><dt>Isolation</dt><dd>${isolation ?? "unknown"}</dd></div>
    <div><dt>Languages</dt><dd>${visible(languages.join(", ")) || "none"}</dd></div>
    ${others.slice(0, 30).map(([name, value]) => html`<div key=${name}><dt>${visible(name)}</dt><dd>${visible(value.slice(0, 300))}</dd></div>`)}
    <div><dt>Endpoint</dt><dd class="mono">${visible(node.endpoint)}</dd></div>
    <div><dt>Id</dt><dd class="mono">${node.id}</dd></div>
  </dl>`;
}

function written(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, one]) => (Array.isArray(value) ? String(one) : `${name}=${typeof one === "object" ? JSON.stringify(one) : one}`)).join(", ");
}

function Drain({ node, onDone }) {
  const admin = useAdmin();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  if (!admin) return null;
  const act = async () => {
    setBusy(true);
    setError(null);
    try {
      await post(`/nodes/${part(node.id)}/${node.draining ? "resume" : "drain"}`);
      announce(node.draining ? "The node takes jobs again." : "The node takes no more jobs.");
      onDone();
    } catch (problem) {
      setError(problem.message);
    }
    setBusy(false);
  };
  return html`<button type="button" class="button" disabled=${busy} onClick=${act} title=${node.draining ? "Let it take jobs again" : "It ends what it has and takes no more"}>${node.draining ? "Resume" : "Drain"}</button>${error && html`<p class="field-error" role="alert">${error}</p>`}`;
}
