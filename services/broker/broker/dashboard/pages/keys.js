// Keys, for admins: made, given a new secret, limited, ended; and what each of them used.
import { get } from "../lib/api.js";
import { ago, milliseconds, moment, visible } from "../lib/format.js";
import { useAnswer, useNow, useTitle } from "../lib/hooks.js";
import { CreateKey, LimitKey, RevokeKey, RotateKey } from "../parts/key-dialogs.js";
import { Icon } from "../parts/icon.js";
import { Empty, Loading, Problem } from "../parts/notice.js";
import { useSession } from "../parts/session.js";
import { Usage } from "../parts/usage.js";
import { html, useState } from "../vendor/view.js";

export function Page() {
  useTitle("Keys and usage");
  const session = useSession();
  if (!session.auth) {
    return html`<h1>Keys and usage</h1><${Empty} title="This broker asks for no keys"><p>With <code>BROKER_AUTH=required</code> it does, and counts what each of them uses.</p></${Empty}>`;
  }
  if (session.role !== "admin") return html`<h1>Keys and usage</h1><${Empty} title="Keys are for admins"><p><a href="#/usage">Your own limits and usage</a></p></${Empty}>`;
  return html`<${Keys} own=${session.id} />`;
}

function Keys({ own }) {
  const { data, error, reload } = useAnswer((signal) => get("/keys", { signal }), []);
  const [open, setOpen] = useState(null); // {Dialog, item}
  const [all, setAll] = useState(false);
  const now = useNow(10_000);
  const show = (Dialog, item) => () => setOpen({ Dialog, item });
  const shown = data?.keys.filter((item) => all || stateOf(item, now) !== "revoked") ?? [];
  const hidden = data ? data.keys.length - shown.length : 0;
  return html`<header class="page-head"><h1>Keys and usage</h1><button type="button" class="button primary" onClick=${show(CreateKey)}><${Icon} name="keys" />Create a key</button></header>
    ${error && html`<${Problem} error=${error} retry=${reload} />`}${!data && !error && html`<${Loading} what="keys" />`}
    ${data && !shown.length && html`<${Empty} title="No keys are kept here"><p>You are logged in with a key from a file (BROKER_ADMIN_KEY_FILE). Create keys for people and programs.</p></${Empty}>`}
    ${shown.length > 0 && html`<section class="panel" aria-label="All keys"><div class="scroll" tabindex="0" role="region" aria-label="Keys"><table class="stack keys">
      <thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">State</th><th scope="col">Created</th><th scope="col">Last used</th><th scope="col">Ends</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${shown.map((item) => html`<tr key=${item.id}><th scope="row">${visible(item.name)}${item.id === own && html` <span class="wish">you</span>`}<small class="mono">${item.id}</small></th>
        <td data-label="Role">${item.role}</td><td data-label="State"><${State} item=${item} now=${now} /></td>
        <td data-label="Created">${moment(item.created_at)}</td>
        <td data-label="Last used">${item.last_used_at ? ago(milliseconds(item.last_used_at), now) : "never"}</td>
        <td data-label="Ends">${item.expires_at ? moment(item.expires_at) : "never"}</td>
        <td class="row-actions">${item.id.startsWith("file-") && html`<span class="quiet">in a file of the broker</span>`}${!item.id.startsWith("file-") && stateOf(item, now) !== "revoked" && html`<button type="button" class="button small" onClick=${show(RotateKey, item)}>Rotate</button>
          ${["client", "admin"].includes(item.role) && html`<button type="button" class="button small" onClick=${show(LimitKey, item)}>Limits</button>`}
          <button type="button" class="button small danger" onClick=${show(RevokeKey, item)}>Revoke</button>`}</td></tr>`)}</tbody></table></div></section>`}
    ${(hidden > 0 || all) && html`<p><button type="button" class="button small" onClick=${() => setAll(!all)}>${all ? "Hide revoked keys" : `Show ${hidden} revoked`}</button></p>`}
    <${Usage} />
    ${open && html`<${open.Dialog} item=${open.item} onDone=${reload} onClose=${() => setOpen(null)} />`}`;
}

function stateOf(item, now) {
  if (item.revoked_at) return "revoked";
  return item.expires_at && milliseconds(item.expires_at) < now ? "expired" : "good";
}

function State({ item, now }) {
  const state = stateOf(item, now);
  const old = state === "good" && milliseconds(item.old_secret_until) > now;
  return html`<span class=${`badge key-${state}`}><span class="dot" aria-hidden="true"></span>${state}</span>${old && html`<small class="quiet"> old secret until ${moment(item.old_secret_until)}</small>`}`;
}
