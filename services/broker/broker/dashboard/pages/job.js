// One job: what it is, why it waits or failed, its attempts, what it prints, what it left.
import { announce } from "../lib/announce.js";
import { get, part } from "../lib/api.js";
import { useAnswer, useJobNews, usePaced, useTitle } from "../lib/hooks.js";
import { shortId } from "../lib/format.js";
import { JobBadge } from "../parts/badge.js";
import { CancelJob } from "../parts/cancel.js";
import { Code } from "../parts/code.js";
import { Copy } from "../parts/copy.js";
import { Facts } from "../parts/job-facts.js";
import { Files } from "../parts/files.js";
import { Loading, Problem } from "../parts/notice.js";
import { Output } from "../parts/output.js";
import { Rerun } from "../parts/rerun.js";
import { Timeline } from "../parts/timeline.js";
import { Verdict } from "../parts/verdict.js";
import { Webhooks } from "../parts/webhooks.js";
import { html, useEffect, useRef, useState } from "../vendor/view.js";

const PACE_MS = 300;
const WAITING_MS = 3_000;

const hasEnded = (job) => job.status === "completed" || job.status === "failed";

export function Page({ route }) {
  const id = route.parts[1];
  const { data: job, error, loading, reload } = useAnswer((signal) => get(`/jobs/${part(id)}`, { signal }), [id]);
  const input = useAnswer((signal) => get(`/jobs/${part(id)}/input`, { signal }), [id]);
  const [verdict, setVerdict] = useState(null);
  useTitle(`Job ${shortId(id)}`);
  const soon = usePaced(reload, () => PACE_MS);
  useJobNews((changed, more) => (changed.some(([one]) => one === id) || (more && job && !hasEnded(job))) && soon());
  useWaitingClock(job, soon);
  useSpoken(job);
  if (error && (!job || error.status === 404 || error.status === 410)) return html`<h1>Job</h1><${Problem} error=${error} retry=${error.status === 410 ? null : reload} />`;
  if (!job) return html`<h1>Job</h1>${loading && html`<${Loading} what="the job" />`}`;
  const ended = hasEnded(job);
  return html`<header class="page-head job-head">
      <div><p class="crumbs"><a href="#/jobs">Jobs</a></p>
        <h1>Job <span class="mono">${shortId(id)}</span><${Copy} text=${id} label="Copy the job's id" /></h1></div>
      <div class="actions"><${JobBadge} status=${job.status} failure=${job.failure} />
        ${!ended && html`<${CancelJob} job=${job} onDone=${reload} />`}<${Rerun} input=${input.data} ended=${ended} /></div>
    </header>
    <${Verdict} job=${job} verdict=${verdict} />
    <div class="job-grid">
      <div class="job-main">
        <section class="panel output-panel" aria-labelledby="output-title"><${Output} jobId=${id} ended=${ended} onChange=${soon} onEnd=${setVerdict} /></section>
        <section class="panel" aria-labelledby="code-title"><h2 id="code-title">Program</h2><${Code} input=${input.data} error=${input.error} /></section>
      </div>
      <div class="job-side">
        <section class="panel" aria-labelledby="timeline-title"><h2 id="timeline-title">Attempts</h2><${Timeline} job=${job} /></section>
        <section class="panel" aria-labelledby="facts-title"><h2 id="facts-title">Details</h2><${Facts} job=${job} input=${input.data} /></section>
        <section class="panel" aria-labelledby="files-title"><h2 id="files-title">Files</h2><${Files} job=${job} ended=${ended} dropped=${verdict?.artifacts_dropped ?? []} /></section>
        <${Webhooks} jobId=${id} ended=${ended} />
      </div>
    </div>`;
}

// The place in the queue moves without the job's changing.
function useWaitingClock(job, soon) {
  const waits = job?.status === "pending";
  useEffect(() => {
    if (!waits) return undefined;
    const timer = setInterval(() => document.hidden || soon(), WAITING_MS);
    return () => clearInterval(timer);
  }, [waits]);
}

function useSpoken(job) {
  const before = useRef(null);
  useEffect(() => {
    if (job && before.current && before.current !== job.status) announce(`The job is ${job.status}${job.failure ? `: ${job.failure}` : ""}.`);
    before.current = job?.status;
  }, [job?.status]);
}
