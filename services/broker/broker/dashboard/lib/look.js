// The colours and styles that a terminal's output is in at the moment, as one number; `classesOf` makes class names of it.
//
// The page has sixteen colours, in tones that can be read on light and dark paper: all others become the nearest of them.
const BOLD = 1, DIM = 2, ITALIC = 4, UNDER = 8, STRIKE = 16, INVERSE = 32;
const NAMES = [[BOLD, "t-bold"], [DIM, "t-dim"], [ITALIC, "t-italic"], [UNDER, "t-under"], [STRIKE, "t-strike"]];
const ON = { 1: BOLD, 2: DIM, 3: ITALIC, 4: UNDER, 7: INVERSE, 9: STRIKE, 21: UNDER };
const OFF = { 22: BOLD | DIM, 23: ITALIC, 24: UNDER, 27: INVERSE, 29: STRIKE };
const PALETTE = [
  [0, 0, 0], [187, 0, 0], [0, 187, 0], [187, 187, 0], [0, 0, 187], [187, 0, 187], [0, 187, 187], [187, 187, 187],
  [85, 85, 85], [255, 85, 85], [85, 255, 85], [255, 255, 85], [85, 85, 255], [255, 85, 255], [85, 255, 255], [255, 255, 255],
];
export const PLAIN = 0;
export const CONTROL = 1 << 20;

export class Look {
  constructor() {
    this.reset();
    this.style = PLAIN;
  }

  reset() {
    this.fg = 0; // 0: the page's own; else a colour's number plus one
    this.bg = 0;
    this.flags = 0;
  }

  // Takes the parameters of one SGR sequence: "1;38;5;120".
  select(text) {
    let [number, any] = [0, false];
    const numbers = [];
    for (let at = 0; at <= text.length; at += 1) {
      const digit = text.charCodeAt(at) - 48;
      if (digit >= 0 && digit <= 9) [number, any] = [Math.min(number * 10 + digit, 9999), true];
      else if (at === text.length || text[at] === ";" || text[at] === ":") {
        numbers.push(any ? number : 0);
        [number, any] = [0, false];
      } else return; // a private sequence: none of ours
    }
    for (let at = 0; at < numbers.length; at += 1) at += this.one(numbers, at);
    this.style = this.fg | (this.bg << 6) | (this.flags << 12);
  }

  // Takes one parameter; answers how many further ones belonged to it.
  one(numbers, at) {
    const number = numbers[at];
    if (number === 0) this.reset();
    else if (number >= 30 && number <= 37) this.fg = number - 29;
    else if (number >= 40 && number <= 47) this.bg = number - 39;
    else if (number >= 90 && number <= 97) this.fg = number - 81;
    else if (number >= 100 && number <= 107) this.bg = number - 91;
    else if (number === 39) this.fg = 0;
    else if (number === 49) this.bg = 0;
    else if (number === 38 || number === 48) return this.extended(numbers, at);
    else if (ON[number]) this.flags |= ON[number];
    else if (OFF[number]) this.flags &= ~OFF[number];
    return 0; // hidden text (8) and blinking (5, 6) among others: shown as it is
  }

  extended(numbers, at) {
    const name = numbers[at] === 38 ? "fg" : "bg";
    if (numbers[at + 1] === 5) {
      this[name] = indexed(numbers[at + 2] ?? 0) + 1;
      return 2;
    }
    if (numbers[at + 1] === 2) {
      this[name] = nearest(numbers.slice(at + 2, at + 5)) + 1;
      return 4;
    }
    return numbers.length;
  }
}

function indexed(number) {
  if (number < 16) return number;
  if (number >= 232) return nearest(Array(3).fill((Math.min(number, 255) - 232) * 10 + 8));
  const level = (n) => (n ? n * 40 + 55 : 0);
  const cube = number - 16;
  return nearest([level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)]);
}

const known = new Map();

function nearest(colour) {
  const key = colour.join();
  if (known.has(key)) return known.get(key);
  const distance = (one) => one.reduce((sum, value, channel) => sum + (value - Math.min(255, colour[channel] ?? 0)) ** 2, 0);
  const best = PALETTE.reduce((least, one, index) => (distance(one) < distance(PALETTE[least]) ? index : least), 0);
  if (known.size < 10_000) known.set(key, best);
  return best;
}

export function classesOf(style) {
  if (style === CONTROL) return "t-control";
  const [fg, bg, flags] = [style & 63, (style >> 6) & 63, style >> 12];
  const inverse = flags & INVERSE;
  const front = inverse ? (bg ? bg - 1 : "paper") : fg ? fg - 1 : null;
  const back = inverse ? (fg ? fg - 1 : "ink") : bg ? bg - 1 : null;
  const all = NAMES.filter(([flag]) => flags & flag).map(([, name]) => name);
  if (front !== null) all.push(`f-${front}`);
  if (back !== null) all.push(`b-${back}`);
  return all.join(" ");
}
