// Submitting a job once more, as it was or after a change.
import { post } from "../lib/api.js";
import { go, link } from "../lib/router.js";
import { html, useState } from "../vendor/view.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icon.js";

// What belonged to the moment of the first submit, or names the job.
const NOT_AGAIN = ["job_id", "not_before", "deadline", "uploads"];

export const again = (input) => Object.fromEntries(Object.entries(input).filter(([name]) => !NOT_AGAIN.includes(name)));

export function Rerun({ input, ended }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  if (!input) return null;
  // The files of an upload are gone, or with the node: only its owner can send them again.
  if (input.uploads?.length) return null;
  const run = async () => {
    setBusy(true);
    try {
      const { job_id: id } = await post("/submit", again(input));
      go(link(["jobs", id]));
    } catch (problem) {
      setError(problem.message);
    }
    setBusy(false);
  };
  return html`<button type="button" class="button" disabled=${busy} onClick=${run} title=${ended ? null : "Submits it once more; this one goes on"}><${Icon} name="again" />Run again</button>
    <a class="button" href=${link("submit", { from: input.job_id })}><${Icon} name="edit" />Edit and run</a>
    ${error && html`<${Dialog} title="It could not be submitted again" onClose=${() => setError(null)}><p>${error}</p></${Dialog}>`}`;
}
