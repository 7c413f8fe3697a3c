// The submit form's words and the API's: what was typed becomes a job, a job becomes what can be typed, errors find their field.
const NUMBERS = ["timeout", "memory_mb", "cpu_seconds", "max_retries", "not_before", "deadline"];
export const BODY_BYTES = 1_400_000; // below BROKER_MAX_BODY_BYTES with room for base64's quarter; larger files go as an upload

export const BLANK = {
  interpreter: "python3",
  code: "",
  args: "",
  stdin: "",
  env: "",
  outputs: "",
  labels: "",
  timeout: "",
  memory_mb: "",
  cpu_seconds: "",
  priority: "5",
  max_retries: "",
  retry_on: [],
  submitter: "",
  cache: false,
  replicas: "",
  quorum: "",
  gpu: false,
  min_cpu_cores: "",
  node_labels: "",
  region: "",
  not_before: "",
  deadline: "",
  callback_url: "",
};

export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

// The body of POST /submit. Fields that say nothing are left out. FieldError for what cannot be read.
export function jobOf(form) {
  const job = { interpreter: form.interpreter, priority: Number(form.priority) };
  if (form.code) job.code = form.code;
  for (const name of NUMBERS) if (form[name] !== "") job[name] = number(name, form[name]);
  for (const name of ["args", "outputs"]) if (form[name]) job[name] = lines(form[name]);
  for (const name of ["env", "labels"]) if (form[name].trim()) job[name] = pairs(name, form[name]);
  for (const name of ["stdin", "submitter", "callback_url"]) if (form[name]) job[name] = form[name];
  if (form.retry_on.length) job.retry_on = form.retry_on;
  if (form.cache) job.cache = true;
  const verify = Object.fromEntries(["replicas", "quorum"].filter((name) => form[name] !== "").map((name) => [name, number(name, form[name])]));
  if (Object.keys(verify).length) job.verify = verify;
  const requires = requirements(form);
  if (Object.keys(requires).length) job.requires = requires;
  return job;
}

function requirements(form) {
  const requires = {};
  if (form.gpu) requires.gpu = true;
  if (form.min_cpu_cores !== "") requires.min_cpu_cores = number("min_cpu_cores", form.min_cpu_cores);
  if (form.node_labels.trim()) requires.labels = pairs("node_labels", form.node_labels);
  if (form.region) requires.region = form.region;
  return requires;
}

function number(field, text) {
  const value = Number(text);
  if (!text.trim() || !Number.isFinite(value)) throw new FieldError(field, "must be a number");
  return value;
}

const lines = (text) => text.replace(/\n$/, "").split("\n");

function pairs(field, text) {
  const found = Object.create(null); // a name may be __proto__
  for (const line of lines(text).filter((one) => one.trim())) {
    const at = line.indexOf("=");
    if (at < 1) throw new FieldError(field, `"${line.slice(0, 40)}" must be name=value`);
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

// What GET /jobs/{id}/input says, as the form shows it. A start time and a deadline belonged to the moment of that submit: they stay empty, as
// they do for "Run again".
export function formOf(input) {
  const form = { ...BLANK };
  for (const name of ["interpreter", "code", "stdin", "submitter", "callback_url", "cache", "retry_on"]) form[name] = input[name] ?? BLANK[name];
  for (const name of ["timeout", "memory_mb", "cpu_seconds", "max_retries", "priority"]) form[name] = input[name] === undefined ? BLANK[name] : String(input[name]);
  for (const name of ["args", "outputs"]) form[name] = (input[name] ?? []).join("\n");
  for (const name of ["env", "labels"]) form[name] = written(input[name]);
  for (const name of ["replicas", "quorum"]) form[name] = String(input.verify?.[name] ?? "");
  const requires = input.requires ?? {};
  form.gpu = Boolean(requires.gpu);
  form.min_cpu_cores = requires.min_cpu_cores ? String(requires.min_cpu_cores) : "";
  form.node_labels = written(requires.labels);
  form.region = requires.region ?? "";
  return form;
}

const written = (map) => Object.entries(map ?? {}).map(([name, value]) => `${name}=${value}`).join("\n");

// {field: sentence} of an ApiError's detail; "" holds what belongs to no field.
export function errorsOf(error) {
  if (error.field) return { [error.field]: error.message };
  const found = Object.create(null);
  for (const { loc, msg } of error.detail ?? []) {
    const [, first, second] = loc;
    const field = first === "requires" ? (second === "labels" ? "node_labels" : second) : first === "verify" ? (second ?? "quorum") : first;
    const name = Object.hasOwn(BLANK, field) || field === "files" || field === "entrypoint" ? field : "";
    const place = name === "" || (second !== undefined && first !== "requires" && first !== "verify") ? `${loc.slice(1).join(".")}: ` : "";
    found[name] ??= place + msg;
  }
  if (!Object.keys(found).length) found[""] = error.message;
  return found;
}
