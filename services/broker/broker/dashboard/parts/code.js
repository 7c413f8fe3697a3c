// What was submitted: the program with its colours, standard input, environment and files.
import { bytes, plural, text } from "../lib/format.js";
import { html } from "../vendor/view.js";
import { Copy } from "./copy.js";
import { Editor } from "./editor.js";
import { Problem } from "./notice.js";

export function Code({ input, error }) {
  if (error) return html`<${Problem} error=${error} />`;
  if (!input) return null;
  const files = Object.entries(input.files ?? {});
  const entry = input.entrypoint && input.files?.[input.entrypoint];
  const code = input.code ?? (typeof entry === "string" ? entry : null);
  return html`${code === null ? html`<p class="quiet">${input.entrypoint ? `The program is ${input.entrypoint} among the job's files.` : "The program came as an upload, which is dropped after the job's end."}</p>`
    : html`<div class="code-box"><${Editor} value=${code} language=${input.interpreter} readOnly label="The job's program" /><${Copy} text=${code} label="Copy the program" /></div>`}
    ${input.stdin && html`<details><summary>Standard input, ${bytes(new Blob([input.stdin]).size)}</summary><pre class="plain">${input.stdin.slice(0, 20_000)}</pre></details>`}
    ${input.env && Object.keys(input.env).length > 0 && html`<details><summary>Environment, ${plural(Object.keys(input.env).length, "variable")}</summary><pre class="plain">${Object.entries(input.env).map(([name, value]) => `${name}=${value}`).join("\n")}</pre></details>`}
    ${files.length > 0 && html`<details><summary>${plural(files.length, "file")} submitted with it</summary><ul class="files">${files.map(([path, content]) => html`<li key=${path}><span class="file-name">${path}</span><span class="size">${bytes(sizeOf(content))}</span></li>`)}</ul></details>`}
    <details><summary>As it was submitted (JSON)</summary><pre class="plain">${text(JSON.stringify(input, null, 2)).slice(0, 50_000)}</pre></details>`;
}

const sizeOf = (content) => (typeof content === "string" ? new Blob([content]).size : Math.floor(content.base64.length * 0.75));
