// What is pending, by class and priority: the fuller a cell the more wait there.
import { count, plural, visible } from "../lib/format.js";
import { link } from "../lib/router.js";
import { html, useState } from "../vendor/view.js";
import { Empty } from "./notice.js";

const FEW = 8; // classes that are told at once
const PRIORITIES = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

export function Queue({ queue }) {
  const [all, setAll] = useState(false);
  if (!queue.pending) return html`<${Empty} title="Nothing waits"><p>Every job that was submitted has a node or has ended.</p></${Empty}>`;
  const used = PRIORITIES.filter((priority) => queue.priorities[priority]);
  const most = Math.max(...queue.classes.flatMap((one) => Object.values(one.priorities)));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Pending jobs by class and priority"><table class="queue">
    <thead><tr><th scope="col">Class</th>${used.map((priority) => html`<th scope="col" class="number" key=${priority}><span class="unseen">Priority </span>P${priority}</th>`)}<th scope="col" class="number">All</th></tr></thead>
    <tbody>
      ${queue.classes.slice(0, all ? undefined : FEW).map((one) => html`<tr key=${`${one.interpreter} ${one.wishes}`}>
        <th scope="row"><a href=${link("jobs", { status: "pending", interpreter: one.interpreter })}>${one.interpreter}</a>${one.wishes.map((wish) => html`<span class="wish" key=${wish}>${visible(wish)}</span>`)}
          ${!one.runnable && html`<span class="cannot">no live node can run it</span>`}</th>
        ${used.map((priority) => html`<td class="number heat" key=${priority} data-heat=${heat(one.priorities[priority], most)}>${one.priorities[priority] ? count(one.priorities[priority]) : ""}</td>`)}
        <td class="number"><b>${count(one.pending)}</b></td></tr>`)}
      ${queue.classes.length > 1 && html`<tr class="sum"><th scope="row">All${queue.unlisted ? `, ${plural(queue.unlisted, "further class", "further classes")} included` : ""}</th>${used.map((priority) => html`<td class="number" key=${priority}>${count(queue.priorities[priority])}</td>`)}<td class="number"><b>${count(queue.pending)}</b></td></tr>`}
    </tbody>
  </table></div>
  ${queue.classes.length > FEW && html`<p class="more"><button type="button" class="button small" aria-expanded=${all ? "true" : "false"} onClick=${() => setAll(!all)}>${all ? "Show the largest classes only" : `Show ${plural(queue.classes.length - FEW, "smaller class", "smaller classes")}`}</button></p>`}`;
}

const heat = (value, most) => (value ? Math.max(1, Math.ceil((Math.log(value + 1) / Math.log(most + 1)) * 5)) : 0);
