// The dialogs about keys. A key's text is shown once, where it is made.
import { visible } from "../lib/format.js";
import { announce } from "../lib/announce.js";
import { part, post, remove } from "../lib/api.js";
import { errorsOf } from "../lib/job-form.js";
import { html, useState } from "../vendor/view.js";
import { Copy } from "./copy.js";
import { Confirm, Dialog } from "./dialog.js";
import { Check, SelectField, TextField } from "./field.js";
import { LIMIT } from "./words.js";

const DAY = 86_400;
const OWNERS = ["client", "admin"]; // roles that own jobs

function Shown({ made, title, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>This is the only time that the key is shown. The broker keeps no more than its hash.</p>
    <p class="secret"><code>${made.key}</code><${Copy} text=${made.key} label="Copy the key">Copy</${Copy}></p>
    <footer><button type="button" class="button primary" onClick=${onClose}>I have it</button></footer>
  </${Dialog}>`;
}

// A dialog with a form: `act(values)` sends it and answers what to show next, or nothing.
function Form({ title, start, action, act, onClose, onDone, children }) {
  const [values, setValues] = useState(start);
  const [errors, setErrors] = useState({});
  const [made, setMade] = useState(null);
  const set = (name) => (value) => setValues((old) => ({ ...old, [name]: value }));
  const send = async (event) => {
    event.preventDefault();
    try {
      const said = await act(values);
      onDone();
      if (said?.key) setMade(said);
      else onClose();
    } catch (error) {
      setErrors(named(error));
    }
  };
  if (made) return html`<${Shown} made=${made} title="The new key" onClose=${onClose} />`;
  const all = Object.values(errors);
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${send} novalidate>
    ${children({ values, set })}
    ${all.length > 0 && html`<p class="problem" role="alert">${all.join(" ")}</p>`}
    <footer><button type="button" class="button" onClick=${onClose}>Not now</button><button class="button primary">${action}</button></footer>
  </form></${Dialog}>`;
}

const named = (error) => (error.detail?.length ? { "": error.detail.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg}`).join("; ") } : errorsOf(error));
const whole = (text) => (text.trim() === "" ? null : Number(text));
const limitsOf = (values) => Object.fromEntries(Object.keys(LIMIT).map((name) => [name, whole(values[name])]));
const Limits = ({ values, set }) => html`<div class="fields">${Object.entries(LIMIT).map(([name, label]) => html`<${TextField} key=${name} id=${name} label=${label} inputmode="numeric" placeholder="the broker's" value=${values[name]} onValue=${set(name)} />`)}</div><p class="hint">Empty: as the broker's settings say. 0: no limit.</p>`;
const blank = Object.fromEntries(Object.keys(LIMIT).map((name) => [name, ""]));

export function CreateKey({ onDone, onClose }) {
  const act = (values) => post("/keys", { name: values.name, role: values.role, expires_in: values.days.trim() ? Number(values.days) * DAY : null, limits: OWNERS.includes(values.role) ? limitsOf(values) : {} });
  return html`<${Form} title="Create a key" action="Create" start=${{ ...blank, name: "", role: "client", days: "" }} ...${{ act, onDone, onClose }}>
    ${({ values, set }) => html`<div class="fields">
      <${TextField} id="name" label="Name" value=${values.name} onValue=${set("name")} autofocus required hint="Whose it is, or what for" />
      <${SelectField} id="role" label="Role" className="twice" value=${values.role} onValue=${set("role")} options=${[["client", "client: its own jobs"], ["admin", "admin: everything"], ["node", "node: a join token"], ["metrics", "metrics: reads /metrics"]]} />
      <${TextField} id="days" label="Good for, days" inputmode="decimal" placeholder="for ever" value=${values.days} onValue=${set("days")} /></div>
      ${OWNERS.includes(values.role) && html`<details><summary>Limits</summary><${Limits} ...${{ values, set }} /></details>`}`}
  </${Form}>`;
}

export function RotateKey({ item, onDone, onClose }) {
  const act = (values) => post(`/keys/${part(item.id)}/rotate`, { grace_seconds: Number(values.hours) * 3600 });
  return html`<${Form} title=${`A new secret for ${visible(item.name)}`} action="Rotate" start=${{ hours: "1" }} ...${{ act, onDone, onClose }}>
    ${({ values, set }) => html`<p>The key stays the same owner: its jobs stay its own.</p><${TextField} id="hours" label="The present secret stays good for, hours" inputmode="decimal" value=${values.hours} onValue=${set("hours")} autofocus />`}
  </${Form}>`;
}

export function LimitKey({ item, onDone, onClose }) {
  const start = Object.fromEntries(Object.keys(LIMIT).map((name) => [name, item.limits[name] === null ? "" : String(item.limits[name])]));
  const act = async (values) => {
    await post(`/keys/${part(item.id)}/limits`, limitsOf(values));
    announce("The limits hold from now on.");
  };
  return html`<${Form} title=${`Limits of ${visible(item.name)}`} action="Set them" start=${start} ...${{ act, onDone, onClose }}>${({ values, set }) => html`<${Limits} ...${{ values, set }} />`}</${Form}>`;
}

export function RevokeKey({ item, onDone, onClose }) {
  const [evict, setEvict] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const act = async () => {
    setBusy(true);
    try {
      await remove(`/keys/${part(item.id)}${evict ? "?evict=true" : ""}`);
      announce(`The key ${item.name} is revoked.`);
      onDone();
      onClose();
    } catch (problem) {
      setError(problem.message);
      setBusy(false);
    }
  };
  return html`<${Confirm} title=${`Revoke ${visible(item.name)}?`} action="Revoke for good" danger onDo=${act} ...${{ onClose, busy, error }}>
    <p>${item.role === "node" ? "No node can join with it any more; those that did go on." : "Whoever uses it is refused at once. Its jobs run on; admins see them."}</p>
    ${item.role === "node" && html`<${Check} id="evict" label="Also put out the nodes that joined with it" checked=${evict} onValue=${setEvict} />`}
  </${Confirm}>`;
}
