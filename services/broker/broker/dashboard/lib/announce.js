// One polite live region for the whole page. What comes in quick succession is said once, the newest.
let region = null;
let pending = 0;

export function announce(sentence) {
  if (!region) {
    region = document.createElement("div");
    region.className = "unseen";
    region.setAttribute("role", "status");
    document.body.append(region);
  }
  clearTimeout(pending);
  pending = setTimeout(() => {
    region.textContent = sentence;
  }, 300);
}
