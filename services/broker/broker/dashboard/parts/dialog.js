// A dialog: the browser's own, which keeps the focus inside, closes with Escape and gives the focus back.
import { html, useEffect, useRef } from "../vendor/view.js";
import { Icon } from "./icon.js";

let ids = 0;

export function Dialog({ title, onClose, children, wide }) {
  const ref = useRef(null);
  const id = useRef(`dialog-${(ids += 1)}`);
  useEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog.showModal();
    dialog.querySelector("[autofocus]")?.focus();
    return () => {
      dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancelled = (event) => {
    event.preventDefault();
    onClose();
  };
  const outside = (event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} class=${wide ? "wide" : null} aria-labelledby=${id.current} onCancel=${cancelled} onMouseDown=${outside}>
    <div class="dialog-body">
      <header><h2 id=${id.current}>${title}</h2>
        <button type="button" class="button bare" onClick=${onClose} aria-label="Close"><${Icon} name="close" /></button></header>
      ${children}
    </div>
  </dialog>`;
}

// Asks before something is done that cannot be undone.
export function Confirm({ title, action, danger, onDo, onClose, busy, error, children }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${children}
    ${error && html`<p class="problem" role="alert">${error}</p>`}
    <footer>
      <button type="button" class="button" onClick=${onClose} autofocus>Keep it as it is</button>
      <button type="button" class=${danger ? "button danger" : "button primary"} disabled=${busy} onClick=${onDo}>${action}</button>
    </footer>
  </${Dialog}>`;
}
