// What a job prints, while it prints it. Nothing in it is ever markup, and only what is in sight is in the page.
import { announce } from "../lib/announce.js";
import { count, plural } from "../lib/format.js";
import { Follow } from "../lib/follow.js";
import { Screen } from "../lib/screen.js";
import { Transcript } from "../lib/transcript.js";
import { html, useEffect, useRef, useState } from "../vendor/view.js";
import { Copy } from "./copy.js";
import { Choice } from "./field.js";
import { Icon } from "./icon.js";

const FEW = 20; // lines that nobody has to search

export function Output({ jobId, ended, onChange, onEnd }) {
  const scroller = useRef(null);
  const parts = useRef(null);
  const [following, setFollowing] = useState(true);
  const [stream, setStream] = useState("");
  const [lost, setLost] = useState(false);
  const [seen, setSeen] = useState({ lines: 0, dropped: 0, over: false });
  const calls = useRef({});
  calls.current = { onChange, onEnd };
  useEffect(() => {
    const transcript = new Transcript();
    const screen = new Screen(scroller.current, transcript, setFollowing);
    const told = {
      status: () => calls.current.onChange(),
      attempt: ({ attempt }) => {
        if (attempt > 1) transcript.note(`Attempt ${attempt} begins anew`);
        calls.current.onChange();
      },
      gap: ({ stream: of, from, to }) => transcript.note(`${count(to - from)} bytes of ${of} are not kept`),
      end: (verdict) => {
        calls.current.onChange();
        if (verdict.job_id) calls.current.onEnd(verdict);
        setSeen((old) => ({ ...old, over: true }));
      },
      news: () => {
        screen.draw();
        setSeen((old) => ({ ...old, lines: transcript.lines.length + transcript.dropped, dropped: transcript.dropped }));
      },
      lost: () => setLost(true),
      back: () => setLost(false),
    };
    const follow = new Follow(jobId, transcript, told);
    parts.current = { transcript, screen };
    return () => {
      follow.close();
      screen.close();
    };
  }, [jobId]);
  const choose = (chosen) => {
    setStream(chosen);
    parts.current.screen.show(chosen || null);
  };
  const toggle = () => {
    setFollowing(!following);
    parts.current.screen.follow(!following);
  };
  const text = () => parts.current.transcript.plain(stream || null);
  return html`<header class="panel-head"><h2 id="output-title">Output</h2>
      <${Choice} label="Stream" value=${stream} onValue=${choose} options=${[["", "Both"], ["stdout", "stdout"], ["stderr", "stderr"]]} />
      <span class="spring"></span>
      ${!seen.over && !ended && html`<button type="button" class="button" data-action="follow" aria-pressed=${following ? "true" : "false"} onClick=${toggle}><${Icon} name=${following ? "running" : "stop"} />${following ? "Following" : "Paused"}</button>`}
      ${seen.lines > FEW && html`<${Find} onFind=${(wanted, backwards) => parts.current.screen.find(wanted, backwards)} />`}
      ${seen.lines > 0 && html`<${Copy} text=${text} label="Copy the output as plain text">Copy</${Copy}>
        <button type="button" class="button" onClick=${() => save(text(), `${jobId}.txt`)}><${Icon} name="download" />Save</button>`}
    </header>
    ${lost && html`<p class="problem" role="status">The live output broke off; trying again …</p>`}
    <div class=${`screen ${stream ? "one-stream" : ""} ${seen.lines ? "" : "blank"}`} ref=${scroller} tabindex="0" role="region" aria-label="Output of the job"></div>
    <p class="screen-foot">${seen.lines === 0 ? (seen.over || ended ? "The job printed nothing." : "Nothing printed yet.") : plural(seen.lines, "line")}${seen.dropped > 0 && `; the first ${count(seen.dropped)} are not in this page any more`}</p>`;
}

// The browser's own search sees only the rows that are in the page.
function Find({ onFind }) {
  const [missing, setMissing] = useState(false);
  const look = (event) => {
    event.preventDefault();
    const wanted = new FormData(event.currentTarget).get("find");
    if (!wanted) return;
    const found = onFind(wanted, event.submitter?.value === "back");
    setMissing(!found);
    announce(found ? "Found" : "The output does not have it");
  };
  return html`<form class=${`find ${missing ? "wrong" : ""}`} role="search" aria-label="In the output" onSubmit=${look}>
    <label class="unseen" for="find">Find in the output</label><input id="find" name="find" type="search" placeholder="Find" aria-invalid=${missing ? "true" : null} onInput=${() => setMissing(false)} />
    <button class="button bare" value="next" aria-label="Next line that has it"><${Icon} name="down" /></button><button class="button bare" value="back" aria-label="Line before that has it"><${Icon} name="up" /></button>
  </form>`;
}

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
