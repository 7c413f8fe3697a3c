// A plot of the last hour as SVG: bars on each other, or lines on a logarithmic scale. It tells its numbers in words and as a table too.
import { clock, duration } from "../lib/format.js";
import { useWidth } from "../lib/hooks.js";
import { decades, ticks } from "../lib/scale.js";
import { html, useState } from "../vendor/view.js";

const HEIGHT = 168;
const EDGE = { left: 46, right: 10, top: 10, bottom: 22 };
const TABLE_ROWS = 12;

// `series`: [{name, values, tone}], oldest first; `until`: the end of the last slice, seconds.
export function Plot({ title, summary, series, kind, until, slice, show, sum }) {
  const [box, width] = useWidth();
  const [at, setAt] = useState(null);
  const count = series[0].values.length;
  const area = { width: Math.max(0, width - EDGE.left - EDGE.right), height: HEIGHT - EDGE.top - EDGE.bottom };
  const y = kind === "bars" ? linear(series, area) : logarithmic(series, area);
  const x = (index) => EDGE.left + (index / count) * area.width;
  const move = (event) => {
    const left = event.currentTarget.getBoundingClientRect().left;
    const index = Math.floor(((event.clientX - left - EDGE.left) / area.width) * count);
    setAt(index >= 0 && index < count ? index : null);
  };
  return html`<figure class="plot" ref=${box}>
    <figcaption><h3>${title}</h3><${Legend} ...${{ series, at, show, until, slice, count }} /></figcaption>
    ${width > 0 && html`<svg width=${width} height=${HEIGHT} role="img" aria-label=${`${title}. ${summary}`} onPointerMove=${move} onPointerLeave=${() => setAt(null)}>
      ${y.ticks.map((tick) => html`<g key=${tick} class="tick"><line x1=${EDGE.left} x2=${width - EDGE.right} y1=${y.place(tick)} y2=${y.place(tick)} /><text x=${EDGE.left - 8} y=${y.place(tick) + 4} text-anchor="end">${show(tick)}</text></g>`)}
      <${Times} ...${{ x, count, until, slice, width }} />
      ${at !== null && html`<rect class="cursor" x=${x(at)} y=${EDGE.top} width=${area.width / count} height=${area.height} />`}
      ${kind === "bars" ? bars(series, x, y, area.width / count) : series.map((one) => html`<path key=${one.name} class=${`line tone-${one.tone}`} d=${line(one.values, x, y, area.width / count)} />`)}
    </svg>`}
    <p class="summary">${summary}</p>
    <${Figures} ...${{ series, until, slice, show, sum, title }} />
  </figure>`;
}

function Legend({ series, at, show, until, slice, count }) {
  return html`<p class="legend" aria-hidden="true">
    ${series.map((one) => html`<span key=${one.name}><i class=${`tone-${one.tone}`}></i>${one.name}${at !== null && html` <b>${one.values[at] === null ? "–" : show(one.values[at])}</b>`}</span>`)}
    ${at !== null && html`<span class="when">${clock((until - (count - at) * slice) * 1000)}</span>`}
  </p>`;
}

function Times({ x, count, until, slice, width }) {
  const every = width < 480 ? 1800 : 900;
  const first = Math.ceil((until - count * slice) / every) * every;
  const all = [];
  for (let time = first; time <= until; time += every) all.push(time);
  return all.map((time) => html`<text key=${time} class="time" x=${x(count - (until - time) / slice)} y=${HEIGHT - 6} text-anchor="middle">${clock(time * 1000).slice(0, 5)}</text>`);
}

function linear(series, area) {
  const sums = series[0].values.map((_, index) => series.reduce((total, one) => total + (one.values[index] ?? 0), 0));
  const all = ticks(Math.max(...sums));
  const most = all[all.length - 1];
  return { ticks: all, place: (value) => EDGE.top + area.height * (1 - value / most) };
}

function logarithmic(series, area) {
  const known = series.flatMap((one) => one.values).filter((value) => value > 0);
  const all = known.length ? decades(Math.min(...known), Math.max(...known)) : [0.01, 0.1, 1];
  const [low, high] = [Math.log10(all[0]), Math.log10(all[all.length - 1])];
  return { ticks: all, place: (value) => EDGE.top + area.height * (1 - (Math.log10(Math.max(value, all[0])) - low) / (high - low)) };
}

function bars(series, x, y, step) {
  const gap = step > 4 ? 1 : 0.3;
  const base = series[0].values.map(() => 0);
  return series.map((one) => {
    const path = one.values.map((value, index) => {
      if (!value) return "";
      const from = base[index];
      base[index] += value;
      return `M${round(x(index) + gap / 2)} ${round(y.place(from))}V${round(y.place(base[index]))}h${round(step - gap)}V${round(y.place(from))}z`;
    });
    return html`<path key=${one.name} class=${`bar tone-${one.tone}`} d=${path.join("")} />`;
  });
}

// A line that is interrupted where nothing was timed; a lonely value is a short dash.
function line(values, x, y, step) {
  let path = "";
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    const [from, place] = [round(x(index) + step / 2), round(y.place(value))];
    const lonely = (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null;
    path += lonely ? `M${round(from - step / 2)} ${place}h${round(step)}` : `${open ? "L" : "M"}${from} ${place}`;
    open = true;
  });
  return path;
}

const round = (value) => Math.round(value * 10) / 10;

// The same as a table, in slices of five minutes.
function Figures({ series, until, slice, show, sum, title }) {
  const count = series[0].values.length;
  const size = count / TABLE_ROWS;
  const rows = Array.from({ length: TABLE_ROWS }, (_, row) => row);
  const cell = (values, row) => {
    const part = values.slice(row * size, (row + 1) * size).filter((value) => value !== null);
    if (!part.length) return "–";
    return show(sum ? part.reduce((a, b) => a + b, 0) : Math.max(...part));
  };
  return html`<details class="figures"><summary>As a table</summary><div class="scroll" tabindex="0" role="region" aria-label=${`${title}, as a table`}><table>
    <thead><tr><th scope="col">From</th>${series.map((one) => html`<th scope="col" class="number" key=${one.name}>${one.name}${sum ? "" : ", highest"}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row}><th scope="row">${clock((until - (count - row * size) * slice) * 1000).slice(0, 5)}</th>${series.map((one) => html`<td class="number" key=${one.name}>${cell(one.values, row)}</td>`)}</tr>`)}</tbody>
  </table></div></details>`;
}

export const seconds = (value) => duration(value);
