// The program: language, editor, and files beside it.
import { bytes } from "../lib/format.js";
import { useLive } from "../lib/hooks.js";
import { html, useRef, useState } from "../vendor/view.js";
import { Choice } from "./field.js";
import { Editor } from "./editor.js";
import { Icon } from "./icon.js";
import { INTERPRETERS } from "./words.js";

const EXAMPLES = {
  python3: 'import time\n\nfor step in range(1, 6):\n    print(f"step {step} of 5", flush=True)\n    time.sleep(1)\nprint("Hello distributed world!")\n',
  node: 'console.log("Hello distributed world!");\n',
  bash: 'for step in 1 2 3; do\n  echo "step $step"\n  sleep 1\ndone\necho "Hello distributed world!"\n',
  sh: 'echo "Hello distributed world!"\n',
  ruby: 'puts "Hello distributed world!"\n',
  perl: 'print "Hello distributed world!\\n";\n',
};

export function Program({ form, set, errors, files, setFiles, given, setGiven }) {
  const { overview } = useLive();
  const offered = Object.keys(overview?.nodes.interpreters ?? {});
  const names = [...new Set([...Object.keys(INTERPRETERS), ...offered, form.interpreter])];
  const none = overview && !offered.includes(form.interpreter);
  return html`<${Choice} label="Language" value=${form.interpreter} onValue=${set("interpreter")} options=${names.map((name) => [name, INTERPRETERS[name] ?? name])} />
    ${none && html`<p class="hint warn">No live node offers ${form.interpreter} now: the job would wait for one.</p>`}
    ${errors.interpreter && html`<p class="field-error">${errors.interpreter}</p>`}
    <div class=${`field ${errors.code ? "wrong" : ""}`}>
      <${Editor} value=${form.code} language=${form.interpreter} label="Program" onValue=${set("code")} invalid=${Boolean(errors.code)} describedBy=${errors.code} />
      ${errors.code && html`<p class="field-error">${errors.code}</p>`}
      <p class="hint editor-hint"><span>Tab indents; Esc, then Tab leaves the editor. Ctrl Enter submits.</span>
        ${!form.code && EXAMPLES[form.interpreter] && html`<button type="button" class="button small" onClick=${() => set("code")(EXAMPLES[form.interpreter])}>Insert an example</button>`}</p>
    </div>
    <${Beside} ...${{ files, setFiles, given, setGiven, error: errors.files ?? errors.entrypoint }} />`;
}

function Beside({ files, setFiles, given, setGiven, error }) {
  const [over, setOver] = useState(false);
  const picker = useRef(null);
  const add = (list) => {
    const news = [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
    setFiles((old) => [...old.filter(({ path }) => !news.some((one) => one.path === path)), ...news]);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    add(event.dataTransfer.files);
  };
  const earlier = Object.entries(given.files ?? {});
  const forget = (path) => setGiven((old) => {
    const { [path]: _, ...rest } = old.files;
    return { ...old, files: rest };
  });
  return html`<div class=${`drop ${over ? "over" : ""} ${error ? "wrong" : ""}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <input id="files" ref=${picker} class="unseen" type="file" multiple tabindex="-1" aria-hidden="true" onChange=${(event) => { add(event.currentTarget.files); event.currentTarget.value = ""; }} />
    <button type="button" class="button" onClick=${() => picker.current.click()}><${Icon} name="file" />Add files</button>
    <span class="hint">or drop them here. The program finds them in its folder; archives are unpacked when they go as an upload (above 1 MB in all).</span>
    ${error && html`<p class="field-error">${error}</p>`}
    <ul class="files">
      ${earlier.map(([path]) => html`<${Chosen} key=${path} path=${path} note="of the earlier job" onRemove=${() => forget(path)} />`)}
      ${files.map(({ path, file }) => html`<${Chosen} key=${path} path=${path} note=${bytes(file.size)} onRemove=${() => setFiles((old) => old.filter((one) => one.path !== path))} />`)}
    </ul></div>`;
}

const Chosen = ({ path, note, onRemove }) => html`<li><span class="file-name">${path}</span><span class="size">${note}</span>
  <button type="button" class="button bare" aria-label=${`Remove ${path}`} onClick=${onRemove}><${Icon} name="close" /></button></li>`;
