// Single letters that do something, unless somebody types, or turned them off.
import { read, toggleTheme } from "./preferences.js";
import { go } from "./router.js";

const PLACES = { o: "#/", j: "#/jobs", n: "#/nodes" };
const SEQUENCE_MS = 1_500;
let prefix = 0;

export function listen(openHelp) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event)) return;
    if (read("letters", "on") !== "on" || document.querySelector("dialog[open]")) return;
    if (act(event.key, openHelp)) event.preventDefault();
  });
}

function typing(event) {
  const target = event.composedPath()[0];
  return target instanceof Element && (target.matches("input, textarea, select") || target.isContentEditable);
}

function act(key, openHelp) {
  const second = performance.now() - prefix < SEQUENCE_MS;
  prefix = key === "g" ? performance.now() : 0;
  if (second && PLACES[key]) go(PLACES[key]);
  else if (key === "?") openHelp();
  else if (key === "n") go("#/submit");
  else if (key === "t") toggleTheme();
  else if (key === "f") document.querySelector("[data-action=follow]")?.click();
  else if (key === "/") search();
  else return false;
  return true;
}

function search() {
  const field = document.getElementById("search");
  if (field) field.focus();
  else go("#/jobs?focus=search");
}
