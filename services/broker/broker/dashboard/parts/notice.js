// What stands where there is nothing to show: nothing yet, nothing any more, or an error.
import { html } from "../vendor/view.js";

export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

export function Problem({ error, retry }) {
  return html`<div class="problem" role="alert">
    <p>${error.message}</p>
    ${retry && html`<button type="button" class="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

export const Loading = ({ what }) => html`<p class="loading" aria-busy="true">Asking for ${what} …</p>`;
