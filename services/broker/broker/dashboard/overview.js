// The pool at a glance, live by server-sent events. Everything that others wrote goes in as text, never as markup.
const STATES = ["pending", "assigned", "running", "completed", "failed"];
const notice = document.getElementById("notice");

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showJobs(totals) {
  const parts = STATES.map((state) => {
    const pair = element("div", "");
    pair.append(element("dt", state), element("dd", String(totals[state] ?? 0)));
    return pair;
  });
  document.getElementById("jobs").replaceChildren(...parts);
}

function nodeRow(node) {
  const row = element("tr", "");
  const name = element("th", node.name || node.id);
  name.scope = "row";
  name.title = node.id;
  row.append(
    name,
    element("td", node.state, "state-" + node.state),
    element("td", `${node.held} / ${node.slots ?? "?"}`),
    element("td", node.isolation || "unknown"),
    element("td", `${node.heartbeat_age} s ago`),
    element("td", node.version || ""),
  );
  return row;
}

function show(overview) {
  showJobs(overview.jobs);
  document.getElementById("nodes").replaceChildren(...overview.nodes.list.map(nodeRow));
  const more = overview.nodes.unlisted ? `, ${overview.nodes.unlisted} of them not shown` : "";
  notice.textContent = `${overview.nodes.known} nodes${more}; ${overview.nodes.slots_used} of ${overview.nodes.slots} slots in use.`;
}

const answer = await fetch("/overview");
if (answer.ok) {
  show(await answer.json());
  const events = new EventSource("/events?topics=overview");
  events.addEventListener("overview", (event) => show(JSON.parse(event.data)));
  events.addEventListener("error", () => { notice.textContent = "The broker does not answer; trying again …"; });
} else if (answer.status === 401 || answer.status === 403) {
  notice.textContent = "This broker asks for a key: see docs/keys.md. The API reference is open.";
} else {
  notice.textContent = `The broker answers ${answer.status}.`;
}
