// Files of the submit form: small ones travel in the JSON body, large ones as sandrun's multipart upload.
import { BODY_BYTES } from "./job-form.js";

const ENDINGS = { python3: "py", node: "js", bash: "sh", sh: "sh", ruby: "rb", perl: "pl" };

export const total = (files) => files.reduce((sum, { file }) => sum + file.size, 0);
export const isLarge = (files, job) => total(files) * 1.4 + (job.code?.length ?? 0) > BODY_BYTES;

// {path: {base64}} of chosen files.
export async function asJson(files) {
  const entries = await Promise.all(files.map(async ({ path, file }) => [path, { base64: await base64(file) }]));
  return Object.fromEntries(entries);
}

// A FormData for POST /submit: the files, the program as one of them, and the rest as the manifest.
export function asForm(files, job) {
  const { code, ...manifest } = job;
  const form = new FormData();
  if (code) {
    const name = `main.${ENDINGS[job.interpreter] ?? "txt"}`;
    form.append("files", new Blob([code]), name);
    manifest.entrypoint ??= name;
  }
  for (const { path, file } of files) form.append("files", file, path);
  form.append("manifest", JSON.stringify(manifest));
  return form;
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}
