// The form for a new job. What was typed stays in this tab until it was sent.
import { ApiError, call, get, part, post } from "../lib/api.js";
import { useTitle } from "../lib/hooks.js";
import { BLANK, errorsOf, formOf, jobOf } from "../lib/job-form.js";
import { go, link } from "../lib/router.js";
import { asForm, asJson, isLarge } from "../lib/upload.js";
import { Icon } from "../parts/icon.js";
import { Loading } from "../parts/notice.js";
import { Program } from "../parts/submit-program.js";
import { Limits, Placing, Running, Standing } from "../parts/submit-groups.js";
import { html, useEffect, useMemo, useState } from "../vendor/view.js";

const DRAFT = "sandrun.draft";

function draft() {
  try {
    return { ...BLANK, ...JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}") };
  } catch {
    return BLANK;
  }
}

function keep(form) {
  try {
    if (form) sessionStorage.setItem(DRAFT, JSON.stringify(form));
    else sessionStorage.removeItem(DRAFT);
  } catch {
    // The tab keeps nothing: the form is empty after a reload.
  }
}

export function Page({ route }) {
  useTitle("Submit a job");
  const from = route.query.from;
  const [form, setForm] = useState(from ? null : draft());
  const [given, setGiven] = useState({}); // what the form has no field for: the earlier job's files and wishes
  const [files, setFiles] = useState([]);
  const [errors, setErrors] = useState({});
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (!from) return;
    get(`/jobs/${part(from)}/input`).then((input) => {
      setForm(formOf(input));
      setGiven(Object.fromEntries(["files", "entrypoint", "prefer"].filter((name) => input[name]).map((name) => [name, input[name]])));
    }, (error) => {
      setForm(draft());
      setErrors({ "": error.message });
    });
  }, []);
  if (!form) return html`<h1>Submit a job</h1><${Loading} what="the earlier job" />`;
  const set = (name) => (value) => setForm((old) => {
    const next = { ...old, [name]: value };
    keep(next);
    return next;
  });
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setErrors({});
    try {
      const said = await submit(form, files, given);
      keep(null);
      go(link(["jobs", said.job_id]));
    } catch (error) {
      setErrors(errorsOf(error));
      setBusy(false);
    }
  };
  const shared = { form, set, errors };
  return html`<header class="page-head"><h1>Submit a job</h1></header>
    <form class="submit" onSubmit=${send} novalidate>
      <${Errors} errors=${errors} />
      <div class="submit-grid">
        <section class="panel submit-program" aria-labelledby="program-title"><h2 id="program-title">Program</h2>
          <${Program} ...${{ ...shared, files, setFiles, given, setGiven }} /></section>
        <div class="submit-side">
          <section class="panel" aria-labelledby="limits-title"><h2 id="limits-title">Limits</h2><${Limits} ...${shared} /></section>
          <section class="panel" aria-labelledby="standing-title"><h2 id="standing-title">Queue</h2><${Standing} ...${shared} /></section>
          <${More} title="Arguments, input, environment" names=${["args", "stdin", "env", "outputs"]} ...${shared}><${Running} ...${shared} /></${More}>
          <${More} title="Where and when" names=${["gpu", "min_cpu_cores", "node_labels", "region", "not_before", "deadline", "callback_url"]} ...${shared}><${Placing} ...${shared} /></${More}>
        </div>
      <div class="submit-foot"><button class="button primary large" disabled=${busy}><${Icon} name="running" />${busy ? "Submitting …" : "Submit"}</button>
        <button type="button" class="button" onClick=${() => { setForm(BLANK); setFiles([]); setGiven({}); setErrors({}); keep(null); }}>Clear</button>
        <${AsCall} ...${{ form, given, files }} /></div>
      </div>
    </form>`;
}

// Files that the form holds go beside the program, in whichever way they fit.
async function submit(form, files, given) {
  const job = { ...given, ...jobOf(form) };
  if (!files.length) return post("/submit", job);
  if (!isLarge(files, job)) return post("/submit", { ...job, files: { ...given.files, ...(await asJson(files)) } });
  if (given.files) throw new ApiError(0, { error: "The earlier job's files and such large ones do not fit in one call: remove one or the other." });
  return call("POST", "/submit", { form: asForm(files, job) });
}

function Errors({ errors }) {
  const number = Object.keys(errors).length;
  useEffect(() => {
    if (number) document.querySelector(".field.wrong :is(input, textarea, select), .errors")?.focus();
  }, [errors]);
  if (!number) return null;
  return html`<div class="problem errors" role="alert" tabindex="-1">${errors[""] ?? "The job was not taken: see the marked fields."}</div>`;
}

function More({ title, names, form, errors, children }) {
  const used = names.some((name) => form[name] !== BLANK[name] || errors[name]);
  return html`<details class="panel" open=${used}><summary><h2>${title}</h2></summary>${children}</details>`;
}

function AsCall({ form, given, files }) {
  const shown = useMemo(() => {
    try {
      return JSON.stringify({ ...given, ...jobOf(form), ...(files.length ? { files: "…" } : {}) }, null, 2);
    } catch (error) {
      return `${error.field}: ${error.message}`;
    }
  }, [form, given, files]);
  return html`<details class="as-call"><summary>The same as a call</summary><pre class="plain">POST /submit\n${shown}</pre></details>`;
}
