// The files that a job left, to be downloaded; and those that were not kept, with the reason.
import { get, part } from "../lib/api.js";
import { bytes, plural, visible } from "../lib/format.js";
import { useAnswer } from "../lib/hooks.js";
import { html } from "../vendor/view.js";
import { Icon } from "./icon.js";
import { Problem } from "./notice.js";

const MANY = 200;

export function Files({ job, ended, dropped }) {
  const load = (signal) => (ended ? get(`/outputs/${part(job.job_id)}`, { signal }) : Promise.resolve(null));
  const { data, error, reload } = useAnswer(load, [job.job_id, ended]);
  if (!ended) return html`<p class="quiet">They come with the job's end.</p>`;
  if (error) return html`<${Problem} error=${error} retry=${reload} />`;
  if (!data) return null;
  const all = data.files.reduce((sum, file) => sum + file.size, 0);
  return html`${data.files.length === 0 ? html`<p class="quiet">The job left no files.</p>` : html`<ul class="files">
      ${data.files.slice(0, MANY).map((file) => html`<li key=${file.name}><a href=${file.download_url} download><${Icon} name="file" /><span class="file-name">${visible(file.name)}</span></a><span class="size">${bytes(file.size)}</span></li>`)}
    </ul>
    <p class="files-all">${data.files.length > MANY && `${plural(data.files.length - MANY, "further file")}. `}<a class="button" href=${`/download/${part(job.job_id)}`} download><${Icon} name="download" />All as tar.gz</a><span class="quiet">${plural(data.files.length, "file")}, ${bytes(all)}</span></p>`}
    ${dropped.length > 0 && html`<details><summary>${plural(dropped.length, "file")} not kept</summary><ul class="files">${dropped.slice(0, MANY).map((file) => html`<li key=${file.path}><span class="file-name">${visible(file.path)}</span><span class="size">${file.reason.replaceAll("_", " ")}${file.size != null ? `, ${bytes(file.size)}` : ""}</span></li>`)}</ul></details>`}`;
}
