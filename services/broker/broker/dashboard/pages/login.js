// The key goes in once; a cookie that no script can read stands for it afterwards.
import { post } from "../lib/api.js";
import { useTitle } from "../lib/hooks.js";
import { TextField } from "../parts/field.js";
import { Mark } from "../parts/frame.js";
import { html, useState } from "../vendor/view.js";

export function Login({ onLogin }) {
  useTitle("Log in");
  const [key, setKey] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      onLogin(await post("/session", { key: key.trim() }));
    } catch (problem) {
      setError(problem.status === 422 ? "Paste the whole key: sbk_, its id and its secret." : problem.message);
      setBusy(false);
    }
  };
  return html`<main class="alone">
    <form class="login" onSubmit=${send}>
      <p class="brand"><${Mark} /><span>sandrun<b>broker</b></span></p>
      <h1>Log in</h1>
      <p>This broker asks for a key of role client or admin.</p>
      <${TextField} id="key" label="Key" type="password" placeholder="sbk_…" value=${key} onValue=${setKey} error=${error} autocomplete="current-password" required autofocus />
      <button class="button primary" disabled=${busy || !key.trim()}>Log in</button>
      <p class="hint">The first key is made on the broker's machine: <code>docker compose exec broker broker-keys create --role admin --name me</code></p>
      <p class="hint">The <a href="/docs">API reference</a> is open to everybody.</p>
    </form>
  </main>`;
}
