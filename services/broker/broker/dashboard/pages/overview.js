// The pool at a glance.
import { clock, count, duration, percent, plural, visible } from "../lib/format.js";
import { useLive, useTitle } from "../lib/hooks.js";
import { link } from "../lib/router.js";
import { NodeRows } from "../parts/node-rows.js";
import { Empty, Loading } from "../parts/notice.js";
import { Plot } from "../parts/plot.js";
import { PoolMap } from "../parts/pool-map.js";
import { Queue } from "../parts/queue.js";
import { FAILURE } from "../parts/words.js";
import { html } from "../vendor/view.js";

const MANY_FAILED = 0.1; // of the jobs that ended: programs fail, a tenth of them is worth a look
const ROWS = 12; // nodes told in a row each; more of them are a map

export function Page() {
  useTitle("Overview");
  const { overview } = useLive();
  if (!overview) return html`<h1>Overview</h1><${Loading} what="the overview" />`;
  const { nodes, hour, series } = overview;
  return html`<header class="page-head"><h1>Overview</h1><p class="quiet">as of <time>${clock(overview.time)}</time></p></header>
    <${Tiles} overview=${overview} />
    <section class="panel pair" aria-labelledby="hour-title"><h2 id="hour-title" class="unseen">The last hour</h2>
      <${Throughput} series=${series} hour=${hour} />
      <${Latency} series=${series} hour=${hour} />
    </section>
    <div class="halves">
      <section class="panel" aria-labelledby="queue-title"><h2 id="queue-title">Queue</h2><${Queue} queue=${overview.queue} /></section>
      <section class="panel" aria-labelledby="failures-title"><h2 id="failures-title">Failures in the last hour</h2><${Failures} hour=${hour} /></section>
    </div>
    <section class="panel" aria-labelledby="nodes-title"><h2 id="nodes-title">Nodes</h2><${Nodes} nodes=${nodes} /></section>`;
}

function Tiles({ overview: { jobs, nodes, hour } }) {
  const ended = hour.completed + hour.failed;
  return html`<dl class="tiles">
    <${Tile} name="Waiting" value=${count(jobs.pending)} href=${link("jobs", { status: "pending" })} note=${hour.wait_p50 === null ? "nothing waited" : `${duration(hour.wait_p50)} typical wait`} />
    <${Tile} name="Running" value=${count(jobs.running)} href=${link("jobs", { status: "running" })} note=${taken(jobs, nodes)} />
    <${Tile} name="Completed" value=${count(hour.completed)} href=${link("jobs", { status: "completed" })} note="in the last hour" />
    <${Tile} name="Failed" value=${count(hour.failed)} href=${link("jobs", { status: "failed" })} note=${ended ? `${percent(hour.failed / ended)} of the last hour` : "in the last hour"} tone=${hour.failed > MANY_FAILED * ended ? "bad" : null} />
    <${Tile} name="Nodes" value=${count(nodes.active)} href=${link("nodes")} note=${troubles(nodes)} tone=${nodes.silent ? "bad" : null} />
  </dl>`;
}

const taken = (jobs, nodes) => `${count(nodes.slots_used)} of ${plural(nodes.slots, "slot")} in use${jobs.assigned ? `, ${count(jobs.assigned)} assigned` : ""}`;

const troubles = (nodes) => [nodes.silent && `${count(nodes.silent)} silent`, nodes.draining && `${count(nodes.draining)} draining`].filter(Boolean).join(", ") || "all active";

const Tile = ({ name, value, note, href, tone }) => html`<div class=${`tile ${tone ?? ""}`}><dt>${name}</dt><dd><a href=${href}>${value}</a><small>${note}</small></dd></div>`;

function Throughput({ series, hour }) {
  const shown = [
    { name: "completed", values: series.completed, tone: "good" },
    { name: "failed", values: series.failed, tone: "bad" },
  ];
  const summary = `${plural(hour.submitted, "job")} submitted, ${count(hour.completed)} completed, ${count(hour.failed)} failed in the last hour.`;
  return html`<${Plot} title="Throughput" kind="bars" sum summary=${summary} series=${shown} until=${series.until} slice=${series.slice_seconds} show=${count} />`;
}

function Latency({ series, hour }) {
  const shown = [
    { name: "wait, median", values: series.wait_p50, tone: "wait" },
    { name: "wait, 95 %", values: series.wait_p95, tone: "wait-high" },
    { name: "whole, median", values: series.total_p50, tone: "total" },
    { name: "whole, 95 %", values: series.total_p95, tone: "total-high" },
  ];
  const summary = hour.total_p50 === null ? "No job ended in the last hour." : `Waiting for a node took ${duration(hour.wait_p50)} (median) and ${duration(hour.wait_p95)} (95 %); from submit to end ${duration(hour.total_p50)} and ${duration(hour.total_p95)}.`;
  return html`<${Plot} title="Latency" kind="lines" summary=${summary} series=${shown} until=${series.until} slice=${series.slice_seconds} show=${duration} />`;
}

function Failures({ hour }) {
  const all = Object.entries(hour.failures);
  if (!all.length) return html`<${Empty} title="None"><p>Nothing failed in the last hour.</p></${Empty}>`;
  const most = Math.max(...all.map(([, number]) => number));
  return html`<ul class="causes">${all.map(([failure, number]) => html`<li key=${failure}>
    <a href=${link("jobs", { failure })}>${FAILURE[failure] ?? failure}</a>
    <span class="cause-bar" aria-hidden="true"><span style=${{ width: `${(number / most) * 100}%` }}></span></span><b>${count(number)}</b></li>`)}</ul>`;
}

function Nodes({ nodes }) {
  if (!nodes.known) {
    return html`<${Empty} title="No node has come yet"><p>Start one: <code>docker compose up --scale node=3</code>. It registers by itself; jobs wait until then.</p></${Empty}>`;
  }
  const rows = nodes.list.map((node) => ({ ...node, heartbeatAge: node.heartbeat_age }));
  const many = rows.length > ROWS;
  return html`<${Kinds} nodes=${nodes} />${many && html`<${PoolMap} nodes=${nodes.list} />`}
    <${NodeRows} nodes=${rows.slice(0, ROWS)} label="Table of nodes" />
    ${nodes.known > ROWS && html`<p class="more"><a href=${link("nodes")}>All ${count(nodes.known)} nodes</a>${nodes.unlisted > 0 && html`<span class="quiet">; the map shows the first ${count(rows.length)}, those in trouble before others</span>`}</p>`}`;
}

function Kinds({ nodes }) {
  const list = (counts) => Object.entries(counts).map(([name, number]) => `${visible(name)} × ${count(number)}`).join(", ") || "–";
  return html`<dl class="facts inline">
    <div><dt>Isolation</dt><dd>${list(nodes.isolation)}</dd></div>
    <div><dt>Versions</dt><dd>${list(nodes.versions)}</dd></div>
    <div><dt>Interpreters</dt><dd>${list(nodes.interpreters)}</dd></div>
  </dl>`;
}
