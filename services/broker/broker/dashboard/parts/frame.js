// What every page stands in: name, navigation, theme, login, and the page itself.
import { toggleTheme } from "../lib/preferences.js";
import { link } from "../lib/router.js";
import { html, useState } from "../vendor/view.js";
import { Icon } from "./icon.js";
import { LostBanner, PoolLine } from "./pool-line.js";
import { useSession } from "./session.js";

const PLACES = [
  ["overview", "Overview", []],
  ["jobs", "Jobs", ["jobs"]],
  ["nodes", "Nodes", ["nodes"]],
  ["submit", "Submit", ["submit"]],
];

export function Frame({ place, onHelp, onLogout, children }) {
  const session = useSession();
  const [, redraw] = useState(0);
  const places = session.auth ? [...PLACES, session.role === "admin" ? ["keys", "Keys", ["keys"]] : ["usage", "Usage", ["usage"]]] : PLACES;
  const theme = () => {
    toggleTheme();
    redraw((n) => n + 1);
  };
  return html`<div class="frame">
    <a class="skip" href="#main" onClick=${skip}>Skip to the page</a>
    <header class="side">
      <a class="brand" href="#/" aria-label="sandrun broker, overview"><${Mark} /><span>sandrun<b>broker</b></span></a>
      <${PoolLine} />
      <nav aria-label="Pages"><ul>
        ${places.map(([id, label, parts]) => html`<li key=${id}><a href=${link(parts)} aria-current=${id === place ? "page" : null}><${Icon} name=${id} /><span>${label}</span></a></li>`)}
      </ul></nav>
      <div class="tools">
        ${session.auth && html`<span class="who" title=${`Key ${session.id}`}>${session.name}<small>${session.role}</small></span>
          <button type="button" class="tool" onClick=${onLogout}><${Icon} name="logout" /><span>Log out</span></button>`}
        <button type="button" class="tool" onClick=${theme} data-action="theme"><${Icon} name="theme" /><span>Theme</span></button>
        <button type="button" class="tool" onClick=${onHelp}><${Icon} name="help" /><span>Keyboard</span></button>
        <a class="tool" href="/docs"><${Icon} name="file" /><span>API</span></a>
      </div>
    </header>
    <main id="main" tabindex="-1"><${LostBanner} />${children}</main>
  </div>`;
}

// The address's hash names the page, so the link moves the focus by itself.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

export const Mark = () => html`<svg class="mark" viewBox="0 0 26 26" aria-hidden="true" focusable="false">
  ${[0, 1, 2].flatMap((row) => [0, 1, 2].map((column) => html`<rect x=${column * 9} y=${row * 9} width="7" height="7" rx="1.5" class=${(row * 3 + column) % 4 === 2 ? "hollow" : null} />`))}
</svg>`;
