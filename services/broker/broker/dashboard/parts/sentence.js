// A sentence of the broker's, with the times in it as this place's clock has them.
import { clock, moment, visible } from "../lib/format.js";
import { html } from "../vendor/view.js";

const TIME = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z))/;
const NEAR_MS = 12 * 3_600_000;

export function Sentence({ text, now }) {
  // Every other part is a time: split keeps what its group has caught.
  return html`${text.split(TIME).map((part, index) => (index % 2 ? html`<time key=${index} datetime=${part} title=${part}>${Math.abs(Date.parse(part) - now) < NEAR_MS ? clock(part) : moment(part)}</time>` : visible(part)))}`;
}
