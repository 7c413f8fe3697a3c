// Many nodes in little room: each a small field of its slots, which leads to its page. Those in trouble come first.
import { visible } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html } from "../vendor/view.js";

const MOST_CELLS = 16;

export function PoolMap({ nodes }) {
  return html`<ul class="pool-map">${nodes.map((node) => html`<li key=${node.id}><a href=${link(["nodes", node.id])} class=${`state-${node.state}`} title=${told(node)} aria-label=${told(node)}>
    <span class="cells" aria-hidden="true">${cells(node)}</span></a></li>`)}</ul>`;
}

const told = (node) => `${visible(node.name || node.id)}: ${node.state}, ${node.held} of ${node.slots ?? "unknown"} slots`;

// One cell for each slot; of nodes with many, each stands for several.
function cells(node) {
  const slots = Math.max(1, node.slots ?? node.held);
  const shown = Math.min(slots, MOST_CELLS);
  const full = Math.round((Math.min(node.held, slots) / slots) * shown);
  return Array.from({ length: shown }, (_, index) => html`<i key=${index} class=${index < full ? "full" : null}></i>`);
}
