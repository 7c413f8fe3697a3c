// Which jobs the list shows. What is chosen is part of the address, so that a list can be shared and come back to.
import { go, link } from "../lib/router.js";
import { html, useEffect, useRef, useState } from "../vendor/view.js";
import { Choice, SelectField, TextField } from "./field.js";
import { Icon } from "./icon.js";
import { FAILURE, INTERPRETERS, STATUS } from "./words.js";

const NAMES = ["status", "text", "label", "submitter", "interpreter", "failure", "node"];
const TYPING_MS = 300;

// What of an address's query are filters.
export const filtersOf = (values) => Object.fromEntries(NAMES.filter((name) => values[name]).map((name) => [name, values[name]]));

export function Filters({ filters, focus }) {
  const [typed, setTyped] = useState(filters);
  const timer = useRef(0);
  const key = JSON.stringify(filters);
  const sent = useRef(key);
  useEffect(() => {
    if (key !== sent.current) setTyped(filters);
    sent.current = key;
  }, [key]);
  useEffect(() => focus && document.getElementById("search").focus(), [focus]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const send = (values, wait) => {
    setTyped(values);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const wanted = filtersOf({ ...values, label: labelOf(values.label) });
      sent.current = JSON.stringify(wanted);
      go(link("jobs", wanted), { replace: Boolean(wait) });
    }, wait);
  };
  const set = (name, wait = 0) => (value) => send({ ...typed, [name]: value }, wait);
  const more = ["label", "submitter", "interpreter", "failure", "node"].filter((name) => typed[name]).length;
  const wrongLabel = typed.label && !labelOf(typed.label) ? "name=value" : null;
  return html`<search class="filters"><form onSubmit=${(event) => event.preventDefault()}>
    <div class="filters-main">
      <${Choice} label="Status" value=${typed.status ?? ""} onValue=${set("status")} options=${[["", "All"], ...Object.entries(STATUS).map(([name, { label }]) => [name, label])]} />
      <div class="search"><${Icon} name="search" /><label class="unseen" for="search">Search in code, labels, submitters and ids</label>
        <input id="search" type="search" placeholder="Code, label, submitter or id" value=${typed.text ?? ""} maxlength="200" onInput=${(event) => set("text", TYPING_MS)(event.currentTarget.value)} /></div>
    </div>
    <details class="filters-more" open=${more > 0}><summary>More filters${more > 0 && html`<b> (${more})</b>`}</summary><div class="fields">
      <${TextField} id="filter-label" label="Label" placeholder="name=value" error=${wrongLabel} value=${typed.label ?? ""} onValue=${set("label", TYPING_MS)} />
      <${TextField} id="filter-submitter" label="Submitter" value=${typed.submitter ?? ""} maxlength="256" onValue=${set("submitter", TYPING_MS)} />
      <${SelectField} id="filter-interpreter" label="Language" value=${typed.interpreter ?? ""} onValue=${set("interpreter")} options=${[["", "any"], ...known(Object.entries(INTERPRETERS), typed.interpreter)]} />
      <${SelectField} id="filter-failure" label="Failed by" value=${typed.failure ?? ""} onValue=${set("failure")} options=${[["", "any"], ...Object.entries(FAILURE)]} />
      <${TextField} id="filter-node" label="Node id" value=${typed.node ?? ""} maxlength="256" onValue=${set("node", TYPING_MS)} />
      <button type="button" class="button" onClick=${() => go("#/jobs")}>Clear</button>
    </div></details>
  </form></search>`;
}

const labelOf = (text) => (text && /^[^=]+=/.test(text) ? text : undefined);
const known = (options, value) => (value && !options.some(([name]) => name === value) ? [...options, [value, value]] : options);
