// A form's field with its label, hint and error, tied together for screen readers.
import { html } from "../vendor/view.js";

// `control` gets {id, "aria-describedby", "aria-invalid"}.
export function Field({ id, label, hint, error, control, className }) {
  const told = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || null;
  return html`<div class=${`field ${className ?? ""} ${error ? "wrong" : ""}`}>
    <label for=${id}>${label}</label>
    ${control({ id, "aria-describedby": told, "aria-invalid": error ? "true" : null })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

export function TextField({ id, label, hint, error, value, onValue, className, lines, ...rest }) {
  const type = (event) => onValue(event.currentTarget.value);
  const control = (tied) =>
    lines
      ? html`<textarea rows=${lines} spellcheck=${false} value=${value} onInput=${type} ...${tied} ...${rest}></textarea>`
      : html`<input value=${value} onInput=${type} autocomplete="off" spellcheck=${false} ...${tied} ...${rest} />`;
  return html`<${Field} ...${{ id, label, hint, error, className, control }} />`;
}

export function SelectField({ id, label, hint, error, value, onValue, options, className }) {
  const control = (tied) => html`<select value=${value} onChange=${(event) => onValue(event.currentTarget.value)} ...${tied}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
  </select>`;
  return html`<${Field} ...${{ id, label, hint, error, className, control }} />`;
}

export const Check = ({ id, label, hint, checked, onValue }) => html`<div class="check">
  <input type="checkbox" id=${id} checked=${checked} aria-describedby=${hint ? `${id}-hint` : null} onChange=${(event) => onValue(event.currentTarget.checked)} />
  <label for=${id}>${label}</label>${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
</div>`;

// One of a few: buttons in a row, of which one is pressed.
export const Choice = ({ label, value, options, onValue }) => html`<div class="choice" role="group" aria-label=${label}>
  ${options.map(([key, text]) => html`<button key=${key} type="button" aria-pressed=${key === value ? "true" : "false"} onClick=${() => onValue(key)}>${text}</button>`)}
</div>`;
