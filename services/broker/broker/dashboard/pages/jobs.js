// The list of jobs, newest first: filters are part of the address, pages go by cursor, and the first page is live.
import { get, query } from "../lib/api.js";
import { ago, duration, milliseconds, shortId, visible } from "../lib/format.js";
import { useAnswer, useJobNews, useNow, usePaced, useTitle } from "../lib/hooks.js";
import { go, link } from "../lib/router.js";
import { JobBadge, Label } from "../parts/badge.js";
import { CancelMatching } from "../parts/cancel.js";
import { Icon } from "../parts/icon.js";
import { Filters, filtersOf } from "../parts/job-filters.js";
import { Empty, Loading, Problem } from "../parts/notice.js";
import { html, useEffect, useRef, useState } from "../vendor/view.js";

const PAGE_SIZE = 50;
const FASTEST_MS = 1_000;
const COST = 6; // a list that takes a second to find is asked for every six at most

export function Page({ route }) {
  useTitle("Jobs");
  const filters = filtersOf(route.query);
  const cursor = route.query.cursor;
  const before = useRef([]);
  const took = useRef(0);
  const load = async (signal) => {
    const begun = performance.now();
    const page = await get(`/jobs${query({ ...filters, cursor, limit: PAGE_SIZE })}`, { signal });
    took.current = performance.now() - begun;
    return page;
  };
  const { data, error, loading, reload } = useAnswer(load, [filters, cursor]);
  const [fresh, setFresh] = useState(new Map());
  useEffect(() => setFresh(new Map()), [data]);
  const soon = usePaced(reload, () => Math.max(FASTEST_MS, took.current * COST));
  useJobNews((changed, more) => {
    const shown = new Set(data?.jobs.map((job) => job.job_id));
    const mine = changed.filter(([id]) => shown.has(id));
    if (mine.length) setFresh((old) => new Map([...old, ...mine]));
    if (!cursor || mine.length || more) soon();
  });
  const turn = (to) => go(link("jobs", { ...filters, cursor: to }));
  const older = () => {
    before.current.push(cursor ?? "");
    turn(data.next_cursor);
  };
  const newer = () => turn(before.current.pop());
  return html`<header class="page-head"><h1>Jobs</h1><a class="button primary" href="#/submit"><${Icon} name="submit" />Submit a job</a></header>
    <${Filters} filters=${filters} focus=${route.query.focus === "search"} />
    ${error && html`<${Problem} error=${error} retry=${reload} />`}
    ${!data && loading && html`<${Loading} what="jobs" />`}
    ${data && html`<${List} jobs=${data.jobs} fresh=${fresh} filtered=${Object.keys(filters).length > 0} />
      <div class="pager"><${CancelMatching} filters=${filters} onDone=${reload} />
        <nav aria-label="Pages of the list">
        <button type="button" class="button" disabled=${!cursor} onClick=${newer}><${Icon} name="left" />Newer</button>
        <button type="button" class="button" disabled=${!data.next_cursor} onClick=${older}>Older<${Icon} name="right" /></button></nav></div>`}`;
}

function List({ jobs, fresh, filtered }) {
  const now = useNow();
  if (!jobs.length) {
    return filtered
      ? html`<${Empty} title="No job matches"><p>Jobs are deleted some time after their end (RESULT_TTL). <a href="#/jobs">All jobs</a></p></${Empty}>`
      : html`<${Empty} title="No jobs"><p>Nothing was submitted, or all of it was deleted after RESULT_TTL. <a href="#/submit">Submit a job</a></p></${Empty}>`;
  }
  return html`<div class="scroll panel" tabindex="0" role="region" aria-label="Jobs"><table class="stack jobs">
    <thead><tr><th scope="col">Job</th><th scope="col">Status</th><th scope="col">Labels</th><th scope="col">Language</th><th scope="col">Submitter</th><th scope="col" class="number">Priority</th><th scope="col" class="number">Submitted</th><th scope="col" class="number">Took</th></tr></thead>
    <tbody>${jobs.map((job) => html`<${Row} key=${job.job_id} job=${job} status=${fresh.get(job.job_id) ?? job.status} now=${now} />`)}</tbody>
  </table></div>`;
}

function Row({ job, status, now }) {
  const created = milliseconds(job.created_at);
  const end = milliseconds(job.completed_at) ?? now;
  return html`<tr>
    <th scope="row"><a class="mono" href=${link(["jobs", job.job_id])} title=${job.job_id}>${shortId(job.job_id)}</a></th>
    <td data-label="Status"><${JobBadge} status=${status} failure=${status === "failed" ? job.failure : null} />${job.attempt > 1 && html`<span class="quiet"> run ${job.attempt}</span>`}</td>
    <td data-label="Labels" class="labels">${Object.entries(job.labels).map(([name, value]) => html`<${Label} key=${name} ...${{ name, value, href: link("jobs", { label: `${name}=${value}` }) }} />`)}</td>
    <td data-label="Language">${job.interpreter}</td>
    <td data-label="Submitter">${job.submitter ? visible(job.submitter) : html`<span class="quiet">–</span>`}</td>
    <td data-label="Priority" class="number">${job.priority}</td>
    <td data-label="Submitted" class="number"><time datetime=${job.created_at} title=${job.created_at}>${ago(created, now)}</time></td>
    <td data-label="Took" class="number">${status === "pending" ? "–" : duration(Math.max(0, end - created) / 1000)}</td>
  </tr>`;
}
