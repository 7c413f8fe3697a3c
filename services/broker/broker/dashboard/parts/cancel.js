// Ending jobs: one, or all that match a filter; asked for once more before it is done.
import { announce } from "../lib/announce.js";
import { part, query, remove } from "../lib/api.js";
import { plural } from "../lib/format.js";
import { html, useState } from "../vendor/view.js";
import { Confirm } from "./dialog.js";
import { Icon } from "./icon.js";

const BY = ["label", "submitter", "status"];

function useDoing(act, onDone) {
  const [open, setOpen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const close = () => {
    setOpen(false);
    setError(null);
  };
  const run = async () => {
    setBusy(true);
    try {
      announce(await act());
      close();
      onDone();
    } catch (problem) {
      setError(problem.message);
    }
    setBusy(false);
  };
  return { open, show: () => setOpen(true), dialog: { busy, error, onDo: run, onClose: close } };
}

export function CancelJob({ job, onDone }) {
  const act = async () => {
    const said = await remove(`/jobs/${part(job.job_id)}`);
    return said.cancel_requested ? "The node was asked to end the job." : "The job has ended.";
  };
  const doing = useDoing(act, onDone);
  return html`<button type="button" class="button danger" disabled=${job.cancel_requested} onClick=${doing.show}><${Icon} name="stop" />${job.cancel_requested ? "Cancelling …" : "Cancel"}</button>
    ${doing.open && html`<${Confirm} title="Cancel this job?" action="Cancel the job" danger ...${doing.dialog}>
      <p>${job.status === "pending" ? "It has not begun and never will." : "Its program and all its processes are killed. What it has printed and written so far is kept."}</p>
    </${Confirm}>`}`;
}

// Only for lists that a label, a submitter or a status narrows; the other filters do not count here, so with them it is not offered.
export function CancelMatching({ filters, onDone }) {
  const names = Object.keys(filters);
  const possible = names.length > 0 && names.every((name) => BY.includes(name)) && !["completed", "failed"].includes(filters.status);
  const act = async () => {
    const said = await remove(`/jobs${query(filters)}`);
    return `${plural(said.cancelled, "job")} cancelled, ${plural(said.requested, "node")} asked to end one.${said.more ? " More jobs match: do it again." : ""}`;
  };
  const doing = useDoing(act, onDone);
  if (!possible) return html`<span></span>`;
  return html`<button type="button" class="button danger quiet-danger" onClick=${doing.show}><${Icon} name="stop" />Cancel all that match …</button>
    ${doing.open && html`<${Confirm} title="Cancel all that match?" action="Cancel them all" danger ...${doing.dialog}>
      <p>Every job that has not ended and has</p><ul>${Object.entries(filters).map(([name, value]) => html`<li key=${name}>${name} <code>${value}</code></li>`)}</ul><p>also those on other pages of the list.</p>
    </${Confirm}>`}`;
}
