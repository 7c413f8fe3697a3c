// Before anything is painted: the theme that was chosen here, if one was. Without a choice the system's holds.
try {
  const theme = localStorage.getItem("sandrun.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing: the system's theme.
}

// Without one of its files the page would stay empty or naked. Networks change under laptops, so it is loaded again a few times by itself;
// app.js ends the count when it has arrived.
const MOST_TRIES = 3;

function tries() {
  try {
    const before = Number(sessionStorage.getItem("sandrun.tries") ?? 0);
    sessionStorage.setItem("sandrun.tries", String(before + 1));
    return before;
  } catch {
    return MOST_TRIES;
  }
}

let reloading = false;

addEventListener("error", ({ target }) => {
  if (reloading || !["SCRIPT", "LINK"].includes(target?.tagName)) return;
  reloading = true;
  const before = tries();
  if (before < MOST_TRIES) setTimeout(() => location.reload(), 300 * 3 ** before);
  const again = document.createElement("a");
  again.href = "/";
  again.textContent = "Load it again";
  document.getElementById("app")?.replaceChildren("Not all of the page has arrived. ", again);
}, true);
