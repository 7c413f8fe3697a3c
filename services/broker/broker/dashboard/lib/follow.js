// A job's output as it comes (GET /logs as server-sent events), fed to a transcript in slices that leave the page time to draw.
import { part } from "./api.js";

const SLICE = 64 * 1024; // characters between two looks at the clock
const BUDGET_MS = 40;
const SHOW_MS = 120; // between two drawings while much is left: drawing costs more than reading
const RETRY_MS = 2_000;

export class Follow {
  // `told` has status(word), attempt(facts), end(verdict), news() after output, lost(), back().
  constructor(jobId, transcript, told) {
    this.jobId = jobId;
    this.transcript = transcript;
    this.told = told;
    this.last = "";
    this.queue = [];
    this.working = 0;
    this.shown = -Infinity;
    this.retry = 0;
    this.decoders = {};
    this.over = false;
    this.onVisible = () => (document.hidden ? this.disconnect() : this.over || this.source || this.connect());
    document.addEventListener("visibilitychange", this.onVisible);
    this.connect();
  }

  close() {
    this.over = true;
    document.removeEventListener("visibilitychange", this.onVisible);
    clearTimeout(this.working);
    this.disconnect();
  }

  connect() {
    const resume = this.last ? `&last_event_id=${part(this.last)}` : "";
    this.source = new EventSource(`/logs/${part(this.jobId)}?follow=true${resume}`);
    this.source.addEventListener("open", () => this.told.back());
    for (const kind of ["status", "attempt", "stdout", "stderr", "gap", "end"]) {
      this.source.addEventListener(kind, (event) => this.take(kind, event));
    }
    this.source.addEventListener("error", () => this.failed());
  }

  disconnect() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  failed() {
    this.disconnect();
    if (this.over) return;
    this.told.lost();
    this.retry = setTimeout(() => this.source || this.over || document.hidden || this.connect(), RETRY_MS);
  }

  take(kind, event) {
    if (event.lastEventId) this.last = event.lastEventId;
    if (kind === "end") {
      this.over = true;
      this.disconnect();
    }
    this.queue.push([kind, JSON.parse(event.data)]);
    this.working ||= setTimeout(() => this.work());
  }

  work() {
    this.working = 0;
    const until = performance.now() + BUDGET_MS;
    while (this.queue.length && performance.now() < until) {
      const [kind, said] = this.queue[0];
      if (kind !== "stdout" && kind !== "stderr") {
        this.queue.shift();
        this.say(kind, said);
        continue;
      }
      const text = said.text ?? (said.text = this.decode(kind, said.base64));
      this.transcript.feed(kind, text.slice(0, SLICE));
      if (text.length > SLICE) said.text = text.slice(SLICE);
      else this.queue.shift();
    }
    if (!this.queue.length || performance.now() - this.shown > SHOW_MS) {
      this.told.news();
      this.shown = performance.now();
    }
    if (this.queue.length) this.working = setTimeout(() => this.work());
  }

  say(kind, said) {
    if (kind === "status") this.told.status(said.status);
    else if (kind === "attempt") {
      this.decoders = {};
      this.told.attempt(said);
    } else if (kind === "gap") this.told.gap(said);
    else this.told.end(said);
  }

  decode(stream, base64) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const decoder = (this.decoders[stream] ??= new TextDecoder());
    return decoder.decode(bytes, { stream: true });
  }
}
