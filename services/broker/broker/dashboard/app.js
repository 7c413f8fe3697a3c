// The dashboard: who is there, which page, and the frame around it.
import { announce } from "./lib/announce.js";
import { ApiError, get, onUnauthorized, remove } from "./lib/api.js";
import { start, stop } from "./lib/live.js";
import { here, onRoute } from "./lib/router.js";
import { listen } from "./lib/shortcuts.js";
import { Frame } from "./parts/frame.js";
import { Help } from "./parts/help.js";
import { Empty, Problem } from "./parts/notice.js";
import { Session } from "./parts/session.js";
import { Login } from "./pages/login.js";
import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from "./vendor/view.js";

// First part of the address -> navigation's place, and the page. A page's files are fetched when it is opened.
const PAGES = {
  "": ["overview", () => import("./pages/overview.js")],
  jobs: ["jobs", (parts) => (parts.length > 1 ? import("./pages/job.js") : import("./pages/jobs.js"))],
  nodes: ["nodes", (parts) => (parts.length > 1 ? import("./pages/node.js") : import("./pages/nodes.js"))],
  submit: ["submit", () => import("./pages/submit.js")],
  keys: ["keys", () => import("./pages/keys.js")],
  usage: ["usage", () => import("./pages/usage.js")],
};

function App() {
  const [session, setSession] = useState(null);
  const [problem, setProblem] = useState(null);
  const [help, setHelp] = useState(false);
  const route = useRoute();
  const ask = () => get("/session").then(setSession, setProblem);
  useEffect(() => {
    onUnauthorized(() => setSession((old) => (old ? { ...old, auth: true, role: null } : old)));
    listen(() => setHelp(true));
    ask();
  }, []);
  const inside = session && (!session.auth || session.role);
  useEffect(() => {
    if (!inside) return undefined;
    start();
    return stop;
  }, [inside]);
  if (problem && !session) return html`<main class="alone"><${Problem} error=${problem} retry=${ask} /></main>`;
  if (!session) return null;
  if (!inside) return html`<${Login} onLogin=${setSession} />`;
  const logout = () => remove("/session").then(setSession, ask);
  return html`<${Session.Provider} value=${session}>
    <${Frame} place=${PAGES[route.parts[0] ?? ""]?.[0]} onHelp=${() => setHelp(true)} onLogout=${logout}>
      <${Page} key=${route.path} route=${route} />
    </${Frame}>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
  </${Session.Provider}>`;
}

function useRoute() {
  const [route, setRoute] = useState(here());
  useEffect(() => onRoute(() => setRoute(here())), []);
  return route;
}

const PATIENCE_MS = [300, 1_500];

// A file that does not come is asked for again: networks change under laptops.
async function patiently(fetchPage) {
  for (const pause of PATIENCE_MS) {
    try {
      return await fetchPage();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return fetchPage();
}

let opened = false;

function Page({ route }) {
  const [page, setPage] = useState(null);
  const [failed] = useErrorBoundary((error) => console.error(error));
  const [missing, setMissing] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    const known = PAGES[route.parts[0] ?? ""];
    if (known) patiently(() => known[1](route.parts)).then((module) => setPage(() => module.Page), () => setMissing(true));
  }, []);
  useLayoutEffect(() => {
    const heading = page && box.current?.querySelector("h1");
    if (!heading) return;
    // Whoever changes the page hears where they are; the first page is read from its beginning.
    if (opened) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      scrollTo(0, 0);
      announce(heading.textContent);
    }
    opened = true;
  }, [page]);
  if (failed) return html`<${Problem} error=${new ApiError(0, { error: `This page failed: ${failed.message}` })} retry=${() => location.reload()} />`;
  if (missing) return html`<${Problem} error=${new ApiError(0, { error: "This part of the dashboard is not there (any more): the broker may have been upgraded." })} retry=${() => location.reload()} />`;
  if (!PAGES[route.parts[0] ?? ""]) {
    return html`<h1>Nothing here</h1><${Empty} title="There is no such page"><p><a href="#/">To the overview</a></p></${Empty}>`;
  }
  return html`<div ref=${box} class="page">${page && html`<${page} route=${route} />`}</div>`;
}

render(html`<${App} />`, document.getElementById("app"));
try {
  sessionStorage.removeItem("sandrun.tries"); // theme.js counts how often the page did not arrive
} catch {
  // Nothing is kept, so nothing was counted.
}
