// The keyboard's shortcuts, and the switch that turns the single letters off.
import { read, write } from "../lib/preferences.js";
import { html, useState } from "../vendor/view.js";
import { Dialog } from "./dialog.js";
import { Check } from "./field.js";

const KEYS = [
  ["g then o", "Overview"],
  ["g then j", "Jobs"],
  ["g then n", "Nodes"],
  ["n", "Submit a job"],
  ["/", "Search jobs"],
  ["t", "Light or dark"],
  ["?", "This list"],
  ["f", "On a job: follow its output, or stop following"],
  ["Ctrl Enter", "In the form: submit"],
  ["Esc then Tab", "In the editor: leave it"],
];

export function Help({ onClose }) {
  const [on, setOn] = useState(read("letters", "on") === "on");
  const change = (checked) => {
    write("letters", checked ? null : "off");
    setOn(checked);
  };
  return html`<${Dialog} title="Keyboard" onClose=${onClose}>
    <dl class="shortcuts">${KEYS.map(([key, what]) => html`<div key=${key}><dt>${key.split(" ").map((one) => (one === "then" ? " then " : html`<kbd>${one}</kbd>`))}</dt><dd>${what}</dd></div>`)}</dl>
    <${Check} id="letters" label="Single letters do something" checked=${on} onValue=${change} hint="Turn it off when you speak to your computer." />
  </${Dialog}>`;
}
