// One's own limits and usage.
import { useTitle } from "../lib/hooks.js";
import { Usage } from "../parts/usage.js";
import { html } from "../vendor/view.js";

export function Page() {
  useTitle("Usage");
  return html`<header class="page-head"><h1>Usage</h1></header><${Usage} />`;
}
