// Nodes as a table: the overview's, and the nodes page's.
import { duration, visible } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../vendor/view.js";
import { NodeBadge } from "./badge.js";
import { Slots } from "./slots.js";

// A node here: {id, name, state, slots, held, isolation, version, heartbeatAge}, and `cells` for what else the page shows.
export function NodeRows({ nodes, label, more = [] }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table class="stack nodes">
    <thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col">Slots</th><th scope="col">Isolation</th><th scope="col" class="number">Heartbeat</th><th scope="col">Version</th>
      ${more.map(([title, , numeric]) => html`<th scope="col" key=${title} class=${numeric ? "number" : null}>${title}</th>`)}</tr></thead>
    <tbody>${nodes.map((node) => html`<tr key=${node.id}>
      <th scope="row"><a href=${link(["nodes", node.id])} class="mono">${visible(node.name || node.id)}</a></th>
      <td data-label="State"><${NodeBadge} state=${node.state} /></td>
      <td data-label="Slots"><${Slots} slots=${node.slots} held=${node.held} state=${node.state} /></td>
      <td data-label="Isolation"><${Isolation} tier=${node.isolation} /></td>
      <td data-label="Heartbeat" class="number">${node.heartbeatAge < 60 ? `${Math.round(node.heartbeatAge)} s` : duration(node.heartbeatAge)}</td>
      <td data-label="Version" class="mono">${visible(node.version ?? "–")}</td>
      ${more.map(([title, cell, numeric]) => html`<td key=${title} data-label=${title} class=${numeric ? "number" : null}>${cell(node)}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

export const Isolation = ({ tier }) => html`<span class="tier">${tier ?? "unknown"}</span>`;
