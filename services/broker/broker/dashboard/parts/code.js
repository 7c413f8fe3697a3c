// What was submitted: the program with its colours, standard input, environment and files.
import { bytes, plural, visible } from "../lib/format.js";
import { html, useMemo, useState } from "../vendor/view.js";
import { Copy } from "./copy.js";
import { Editor } from "./editor.js";
import { Problem } from "./notice.js";

const MOST_SHOWN = 50_000;

// Made anew only for another input: the page around it changes with every piece of news.
export function Code({ input, error }) {
  return useMemo(() => {
    if (error) return html`<${Problem} error=${error} />`;
    return input && html`<${Program} input=${input} /><${Beside} input=${input} />`;
  }, [input, error]);
}

function Program({ input }) {
  const entry = input.entrypoint && input.files?.[input.entrypoint];
  const code = input.code ?? (typeof entry === "string" ? entry : null);
  if (code !== null) {
    return html`<div class="code-box"><${Editor} value=${code} language=${input.interpreter} readOnly label="The job's program" /><${Copy} text=${code} label="Copy the program" /></div>`;
  }
  const where = input.entrypoint ? `${input.entrypoint}, one of its files` : "among its files";
  return html`<p class="quiet">The program is ${where}.${input.uploads ? " Uploads are dropped after the job's end, so it cannot be run again from here." : ""}</p>`;
}

function Beside({ input }) {
  const variables = Object.entries(input.env ?? {});
  const files = [
    ...Object.entries(input.files ?? {}).map(([path, content]) => [path, sizeOf(content)]),
    ...(input.uploads ?? []).map(({ name, size }) => [name, size]),
  ];
  return html`${input.stdin && html`<${Folded} title=${`Standard input, ${bytes(new Blob([input.stdin]).size)}`} text=${() => input.stdin} />`}
    ${variables.length > 0 && html`<${Folded} title=${`Environment, ${plural(variables.length, "variable")}`} text=${() => variables.map(([name, value]) => `${name}=${value}`).join("\n")} />`}
    ${files.length > 0 && html`<details><summary>${plural(files.length, "file")} submitted with it</summary><ul class="files">${files.map(([path, size]) => html`<li key=${path}><span class="file-name">${visible(path)}</span><span class="size">${bytes(size)}</span></li>`)}</ul></details>`}
    <${Folded} title="As it was submitted (JSON)" text=${() => JSON.stringify(input, null, 2)} />`;
}

// Text that is only made when somebody opens it.
function Folded({ title, text }) {
  const [open, setOpen] = useState(false);
  const shown = open ? text() : "";
  return html`<details onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>${title}</summary>
    ${open && html`<pre class="plain" tabindex="0" aria-label=${title}>${shown.slice(0, MOST_SHOWN)}</pre>${shown.length > MOST_SHOWN && html`<p class="quiet">and ${bytes(shown.length - MOST_SHOWN)} more</p>`}`}</details>`;
}

const sizeOf = (content) => (typeof content === "string" ? new Blob([content]).size : Math.floor(content.base64.length * 0.75));
