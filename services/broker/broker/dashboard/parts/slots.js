// A node's slots as cells: full, free, or out of reach.
import { html } from "../vendor/view.js";

const MOST = 24;

export function Slots({ slots, held, state }) {
  const known = slots ?? held;
  if (known > MOST) return html`<span class="load" title=${`${held} of ${known} slots`}><span class="load-bar"><span style=${{ width: `${Math.min(100, (held / known) * 100)}%` }}></span></span>${held} / ${known}</span>`;
  const cells = Array.from({ length: known }, (_, index) => html`<i key=${index} class=${index < held ? "full" : null}></i>`);
  return html`<span class=${`slots state-${state}`}><span class="cells" aria-hidden="true">${cells}</span><span class="slots-text">${held} / ${slots ?? "?"}</span></span>`;
}
