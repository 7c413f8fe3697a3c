// Before anything is painted: the theme that was chosen here, if one was. Without a choice the system's holds.
try {
  const theme = localStorage.getItem("sandrun.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing: the system's theme.
}

// Without one of its files the page would stay empty: say so, and how to go on.
addEventListener("error", ({ target }) => {
  if (target?.tagName !== "SCRIPT") return;
  const again = document.createElement("a");
  again.href = "/";
  again.textContent = "Load it again";
  document.getElementById("app").replaceChildren("Not all of the page has arrived. ", again);
}, true);
