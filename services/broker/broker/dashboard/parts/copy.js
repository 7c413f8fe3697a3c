// A button that copies a text and says that it did.
import { announce } from "../lib/announce.js";
import { html, useState } from "../vendor/view.js";
import { Icon } from "./icon.js";

export function Copy({ text, label, children }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      setDone(true);
      announce("Copied");
      setTimeout(() => setDone(false), 1500);
    } catch {
      announce("This browser does not let the page copy: select the text and copy it yourself.");
    }
  };
  return html`<button type="button" class=${children ? "button" : "button bare"} onClick=${copy} aria-label=${children ? null : label} title=${label}>
    <${Icon} name=${done ? "completed" : "copy"} />${children && (done ? "Copied" : children)}
  </button>`;
}
