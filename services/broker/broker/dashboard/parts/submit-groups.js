// The submit form's groups of fields.
import { html } from "../vendor/view.js";
import { Check, TextField } from "./field.js";

const RETRIES = [["exit", "its own exit code"], ["timeout", "the time limit"], ["memory", "the memory limit"]];

const text = ({ form, set, errors }, id, label, rest = {}) => html`<${TextField} key=${id} id=${id} label=${label} value=${form[id]} onValue=${set(id)} error=${errors[id]} ...${rest} />`;

export const Limits = (shared) => html`<div class="fields">
  ${text(shared, "timeout", "Time, seconds", { inputmode: "decimal", placeholder: "the most" })}
  ${text(shared, "memory_mb", "Memory, MiB", { inputmode: "numeric", placeholder: "the node's" })}
  ${text(shared, "cpu_seconds", "CPU time, seconds", { inputmode: "decimal", placeholder: "none" })}
</div>`;

export function Standing(shared) {
  const { form, set, errors } = shared;
  const toggle = (name) => (on) => set("retry_on")(on ? [...form.retry_on, name] : form.retry_on.filter((one) => one !== name));
  return html`<div class="fields">
    <div class="field range"><label for="priority">Priority <output for="priority">${form.priority}</output></label>
      <input id="priority" type="range" min="0" max="9" value=${form.priority} aria-describedby="priority-hint" onInput=${(event) => set("priority")(event.currentTarget.value)} />
      <p class="hint" id="priority-hint">9 is the most urgent</p></div>
    ${text(shared, "submitter", "Submitter", { hint: "Submitters get fair shares" })}
    ${text(shared, "labels", "Labels", { lines: 2, placeholder: "name=value, one a line", className: "wide" })}
    ${text(shared, "max_retries", "Retries when nodes fail", { inputmode: "numeric", placeholder: "the default" })}
    <fieldset class="field checks"><legend>Retry also after</legend>${RETRIES.map(([name, label]) => html`<${Check} key=${name} id=${`retry-${name}`} label=${label} checked=${form.retry_on.includes(name)} onValue=${toggle(name)} />`)}
      ${errors.retry_on && html`<p class="field-error">${errors.retry_on}</p>`}</fieldset>
    ${text(shared, "replicas", "Verify: nodes that may give a result", { inputmode: "numeric", placeholder: "one counts", hint: "2 to 9, one after the other" })}
    ${text(shared, "quorum", "Verify: equal results needed", { inputmode: "numeric", placeholder: "more than half" })}
    <${Check} id="cache" label="An identical earlier success is the answer" checked=${form.cache} onValue=${set("cache")} />
  </div>`;
}

export const Running = (shared) => html`<div class="fields">
  ${text(shared, "args", "Arguments", { lines: 2, hint: "One a line", className: "wide" })}
  ${text(shared, "stdin", "Standard input", { lines: 3, className: "wide" })}
  ${text(shared, "env", "Environment", { lines: 2, placeholder: "NAME=value, one a line", className: "wide" })}
  ${text(shared, "outputs", "Files to keep", { lines: 2, hint: "Patterns, one a line; all that it makes unless set", className: "wide" })}
</div>`;

export const Placing = (shared) => html`<div class="fields">
  ${text(shared, "min_cpu_cores", "CPU cores, at least", { inputmode: "decimal" })}
  ${text(shared, "region", "Region")}
  ${text(shared, "node_labels", "Node's labels", { lines: 2, placeholder: "name=value, one a line", className: "wide" })}
  <${Check} id="gpu" label="Needs a GPU" checked=${shared.form.gpu} onValue=${shared.set("gpu")} />
  ${text(shared, "not_before", "Start in, seconds", { inputmode: "decimal", placeholder: "at once" })}
  ${text(shared, "deadline", "Give up waiting in, seconds", { inputmode: "decimal", placeholder: "never" })}
  ${text(shared, "callback_url", "Tell this address at the end", { placeholder: "https://…", className: "wide", inputmode: "url" })}
</div>`;
