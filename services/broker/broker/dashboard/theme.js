// Before anything is painted: the theme that was chosen here, if one was. Without a choice the system's holds.
try {
  const theme = localStorage.getItem("sandrun.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing: the system's theme.
}
