// Pages by the address's hash: #/jobs/ID?tab=code. The broker serves one page, and every address can be shared.
const listeners = new Set();

export function here() {
  const [path, search = ""] = location.hash.slice(1).split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  return { path: `/${parts.join("/")}`, parts, query: Object.fromEntries(new URLSearchParams(search)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function link(parts, values = {}) {
  const path = [parts].flat().map(encodeURIComponent).join("/");
  const set = Object.entries(values).filter(([, value]) => value);
  return `#/${path}${set.length ? `?${new URLSearchParams(set)}` : ""}`;
}

export function go(address, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", address);
    for (const listener of listeners) listener();
  } else {
    location.hash = address.slice(1);
  }
}

export function onRoute(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

addEventListener("hashchange", () => {
  for (const listener of listeners) listener();
});
