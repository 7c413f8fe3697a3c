// What components share: the broker's news, answers that are asked for again, and time that passes.
import { useCallback, useEffect, useRef, useState } from "../vendor/view.js";
import { live, now, onJobs, onState } from "./live.js";

export function useLive() {
  const [, redraw] = useState(0);
  useEffect(() => onState(() => redraw((n) => n + 1)), []);
  return live;
}

// Draws again every `period` milliseconds; the broker's present time.
export function useNow(period = 1000) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || redraw((n) => n + 1), period);
    return () => clearInterval(timer);
  }, [period]);
  return now();
}

// What `load(signal)` answers: {data, error, loading, reload}. Asked again when `inputs` change and after a lost broker came back.
// Data stays while it is asked for again; that of other inputs does not.
export function useAnswer(load, inputs) {
  const [answer, setAnswer] = useState({ data: null, error: null, loading: true, key: null });
  const [asked, setAsked] = useState(0);
  const { epoch } = useLive();
  const key = JSON.stringify(inputs);
  useEffect(() => {
    const abort = new AbortController();
    setAnswer((old) => ({ data: old.key === key ? old.data : null, error: null, loading: true, key }));
    load(abort.signal).then(
      (data) => abort.signal.aborted || setAnswer({ data, error: null, loading: false, key }),
      (error) => abort.signal.aborted || setAnswer((old) => ({ data: old.data, error, loading: false, key })),
    );
    return () => abort.abort();
  }, [key, asked, epoch]);
  const reload = useCallback(() => setAsked((n) => n + 1), []);
  return answer.key === key ? { ...answer, reload } : { data: null, error: null, loading: true, reload };
}

// Calls `changed(jobs, more)` at each news of jobs.
export function useJobNews(changed) {
  const latest = useRef(changed);
  latest.current = changed;
  useEffect(() => onJobs((jobs, more) => latest.current(jobs, more)), []);
}

// A function that runs `act` at most every `pause()` milliseconds, and once more for calls in between.
export function usePaced(act, pause) {
  const state = useRef({ timer: 0, at: -Infinity });
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const own = state.current;
    if (own.timer) return;
    const rest = Math.max(0, own.at + pause() - performance.now());
    own.timer = setTimeout(() => {
      own.timer = 0;
      own.at = performance.now();
      latest.current();
    }, rest);
  }, []);
}

// The width of an element, as it changes: [ref, width].
export function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

// The page's title and the first heading's focus when a page opens.
export function useTitle(title) {
  useEffect(() => {
    document.title = `${title} · sandrun-broker`;
  }, [title]);
}
