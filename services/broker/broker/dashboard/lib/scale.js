// Axes: steps that people count in, and time along a line.
const STEPS = [1, 2, 5, 10];

// Up to about `wanted` steps from 0 to at least `most`: 0, 5, 10, …
export function ticks(most, wanted = 3) {
  if (!(most > 0)) return [0, 1];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.map((one) => one * power).find((one) => one >= rough);
  const all = [];
  for (let at = 0; at < most + step - 1e-9 * step; at += step) all.push(Number(at.toPrecision(6)));
  return all;
}

// Powers of ten from below `least` to above `most`, for what spreads over several of them.
export function decades(least, most) {
  const first = Math.floor(Math.log10(least));
  const last = Math.max(first + 1, Math.ceil(Math.log10(most)));
  return Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
}
