// What became of the call that a job's end makes: owed, delivered or failed, and once more.
import { get, part, post } from "../lib/api.js";
import { moment, plural } from "../lib/format.js";
import { useAnswer } from "../lib/hooks.js";
import { html, useState } from "../vendor/view.js";
import { Problem } from "./notice.js";

export function Webhooks({ jobId, ended }) {
  const { data, error, reload } = useAnswer((signal) => get(`/jobs/${part(jobId)}/webhooks`, { signal }), [jobId, ended]);
  const [failed, setFailed] = useState(null);
  const again = () => post(`/jobs/${part(jobId)}/webhooks/redeliver`).then(reload, setFailed);
  // Most jobs have none, and whoever wants none need not hear of it.
  if (error || !data?.webhooks.length) return null;
  return html`<section class="panel" aria-labelledby="webhooks-title"><h2 id="webhooks-title">Webhook</h2>
    ${data.webhooks.map((hook) => html`<dl class="facts" key=${hook.id}><div><dt>Address</dt><dd>${hook.url}</dd></div>
      <div><dt>State</dt><dd>${hook.state}, ${plural(hook.attempts, "try", "tries")}</dd></div>
      ${hook.next_at && html`<div><dt>Next try</dt><dd>${moment(hook.next_at)}</dd></div>`}
      ${hook.deliveries.slice(-3).map((one) => html`<div key=${one.at}><dt>${moment(one.at)}</dt><dd>${one.status ?? ""} ${one.error ?? ""}</dd></div>`)}</dl>`)}
    ${failed && html`<${Problem} error=${failed} />`}
    <p><button type="button" class="button small" disabled=${!ended} onClick=${again}>Send it again</button> <button type="button" class="button small" onClick=${reload}>Look again</button></p></section>`;
}
