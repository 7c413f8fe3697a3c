// A job's or a node's state: colour, sign and word, so that none of them has to be seen.
import { visible } from "../lib/format.js";
import { html } from "../vendor/view.js";
import { Icon } from "./icon.js";
import { FAILURE, STATUS } from "./words.js";

export function JobBadge({ status, failure }) {
  const known = STATUS[status] ?? { label: status, icon: "waiting" };
  return html`<span class=${`badge is-${status}`}>
    <${Icon} name=${known.icon} />${known.label}${failure && html`<span class="badge-why">${FAILURE[failure] ?? failure}</span>`}
  </span>`;
}

export const NodeBadge = ({ state }) => html`<span class=${`badge node-${state}`}><span class="dot" aria-hidden="true"></span>${state}</span>`;

export const nodeState = (node) => (!node.active ? "silent" : node.draining ? "draining" : "active");

// One of a job's labels; a click lists all jobs that have it.
export const Label = ({ name, value, href }) => html`<a class="label" href=${href} title=${visible(`${name}=${value}`)}><span>${visible(name)}</span>${visible(value)}</a>`;
