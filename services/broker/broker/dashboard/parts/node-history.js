// What befell a node, as far as the broker tells it.
import { moment } from "../lib/format.js";
import { html } from "../vendor/view.js";

export function NodeHistory({ node }) {
  if (!node.history?.length) return null;
  return html`<section class="panel" aria-labelledby="history-title"><h2 id="history-title">History</h2>
    <ol class="history">${node.history.map((event, index) => html`<li key=${index}><time datetime=${event.at}>${moment(event.at)}</time> <b>${event.event ?? event.kind}</b> ${event.detail ?? event.message ?? ""}</li>`)}</ol>
  </section>`;
}
