// Calls to the broker. Every error is an ApiError with the broker's own sentence.
export class ApiError extends Error {
  constructor(status, said) {
    super(said?.error || `The broker answered ${status}.`);
    this.status = status;
    this.reason = said?.reason ?? null;
    this.detail = said?.detail ?? [];
  }
}

const NO_ANSWER = "The broker does not answer. What you see may be out of date.";
const unauthorized = new Set();

// Called when an answer says that nobody is logged in (any more).
export function onUnauthorized(listener) {
  unauthorized.add(listener);
}

export async function call(method, path, { body, form, signal } = {}) {
  const options = { method, signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  } else if (form) {
    options.body = form;
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { error: NO_ANSWER });
  }
  const said = await response.json().catch(() => null);
  if (response.ok) return said;
  if (response.status === 401) for (const listener of unauthorized) listener();
  throw new ApiError(response.status, said);
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { ...options, body });
export const remove = (path, options) => call("DELETE", path, options);

// "?a=1&b=2" of what is set; "" of nothing.
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

export const part = encodeURIComponent;
