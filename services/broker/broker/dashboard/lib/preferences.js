// What somebody chose on this browser. A browser that keeps nothing forgets it with the page.
const memory = new Map();

export function read(name, otherwise) {
  try {
    return localStorage.getItem(`sandrun.${name}`) ?? memory.get(name) ?? otherwise;
  } catch {
    return memory.get(name) ?? otherwise;
  }
}

export function write(name, value) {
  memory.set(name, value);
  try {
    if (value === null) localStorage.removeItem(`sandrun.${name}`);
    else localStorage.setItem(`sandrun.${name}`, value);
  } catch {
    // Kept in memory until the page goes.
  }
}

export const themeNow = () => document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

// The other theme. Back at the system's own, the choice is dropped: the page follows the system again.
export function toggleTheme() {
  const next = themeNow() === "dark" ? "light" : "dark";
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  if (next === system) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  write("theme", next === system ? null : next);
  return next;
}
