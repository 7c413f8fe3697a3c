// Draws a transcript into an element that scrolls: only the rows that are in sight, and all of them while they are few,
// so that a browser's own search and a screen reader find everything in most outputs.
import { classesOf } from "./look.js";
import { Rows } from "./rows.js";

const ALL_ROWS = 1_000;
const SPARE_ROWS = 30;
const GUESS = { width: 8, height: 20 };
const MIN_COLUMNS = 20;

export class Screen {
  // `scroller` has the scroll bar; `onFollow(following)` is told when scrolling by hand changes it.
  constructor(scroller, transcript, onFollow) {
    this.scroller = scroller;
    this.transcript = transcript;
    this.rows = new Rows(transcript);
    this.onFollow = onFollow;
    this.following = true;
    this.marked = null; // the line that was searched for
    this.shown = null;
    this.drawn = new Map(); // row -> {element, line, version}
    this.frame = 0;
    this.page = document.createElement("div");
    this.page.className = "screen-page";
    this.sheet = document.createElement("div");
    this.sheet.className = "screen-sheet";
    this.page.append(this.sheet);
    this.scroller.replaceChildren(this.page);
    this.cell = this.measure();
    this.onScroll = () => this.scrolled();
    scroller.addEventListener("scroll", this.onScroll, { passive: true });
    this.width = 0;
    this.watch = new ResizeObserver(() => this.resized());
    this.watch.observe(scroller);
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.watch.disconnect();
    this.scroller.removeEventListener("scroll", this.onScroll);
  }

  draw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  show(stream) {
    this.shown = stream;
    this.clear();
    this.draw();
  }

  follow(following) {
    this.following = following;
    this.draw();
  }

  // Goes to the next line that has the text, from the last one found on, and round; whether there is one.
  find(text, backwards) {
    const { lines } = this.transcript;
    const wanted = text.toLowerCase();
    const from = this.marked ? this.marked.place - this.transcript.dropped : backwards ? 0 : -1;
    for (let step = 1; step <= lines.length; step += 1) {
      const at = (from + (backwards ? -step : step) + 2 * lines.length) % lines.length;
      const line = lines[at];
      const shown = !this.shown || line.stream === this.shown;
      if (shown && line.text.toLowerCase().includes(wanted)) return this.reveal(line, at);
    }
    this.mark(null);
    return false;
  }

  reveal(line, at) {
    this.mark(line);
    this.rows.settle();
    if (this.following) {
      this.following = false;
      this.onFollow(false);
    }
    this.placed = Math.max(0, this.rows.starts[at] * this.cell.height - this.scroller.clientHeight / 3);
    this.scroller.scrollTop = this.placed;
    this.draw();
    return true;
  }

  mark(line) {
    for (const one of [this.marked, line]) if (one) one.version += 1;
    this.marked = line;
    this.draw();
  }

  clear() {
    this.drawn.clear();
    this.sheet.replaceChildren();
  }

  measure() {
    const probe = document.createElement("span");
    probe.className = "screen-probe";
    probe.textContent = "0".repeat(100);
    this.page.append(probe);
    const { width, height } = probe.getBoundingClientRect();
    probe.remove();
    return width ? { width: width / 100, height } : GUESS;
  }

  resized() {
    // The height grows with the output; only another width breaks the lines elsewhere.
    if (this.scroller.clientWidth !== this.width) {
      this.width = this.scroller.clientWidth;
      this.cell = this.measure();
      this.clear();
    }
    this.draw();
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const atEnd = scrollTop + clientHeight >= scrollHeight - 2;
    // Our own scrolling ends at the end; only a person leaves it, or comes back to it.
    if (atEnd !== this.following && Math.abs(scrollTop - (this.placed ?? -1)) > 1) {
      this.following = atEnd;
      this.onFollow(atEnd);
    }
    this.draw();
  }

  paint() {
    const { rows, cell, scroller } = this;
    const style = getComputedStyle(scroller);
    const room = scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 2 * cell.width;
    rows.set(Math.max(MIN_COLUMNS, Math.floor(room / cell.width)), this.shown);
    rows.settle();
    const { total } = rows;
    this.page.style.height = `${total * cell.height}px`;
    if (this.following) {
      scroller.scrollTop = scroller.scrollHeight;
      this.placed = scroller.scrollTop;
    }
    const top = Math.floor(scroller.scrollTop / cell.height);
    const few = total <= ALL_ROWS;
    const first = few ? 0 : Math.max(0, top - SPARE_ROWS);
    const end = few ? total : Math.min(total, top + Math.ceil(scroller.clientHeight / cell.height) + SPARE_ROWS);
    this.window(first, end);
  }

  // Keeps the elements of rows that are still what they were.
  window(first, end) {
    const { rows, transcript, drawn } = this;
    const next = new Map();
    let line = rows.lineAt(first);
    for (let row = first; row < end; row += 1) {
      while (rows.starts[line + 1] <= row) line += 1;
      const of = transcript.lines[line];
      const known = drawn.get(row);
      const same = known && known.line === of && known.version === of.version;
      next.set(row, same ? known : { element: this.row(of, row - rows.starts[line]), line: of, version: of.version });
    }
    this.drawn = next;
    const elements = [...next.values()].map((one) => one.element);
    reconcile(this.sheet, elements);
    this.sheet.style.transform = `translateY(${first * this.cell.height}px)`;
  }

  row(line, part) {
    const element = document.createElement("div");
    element.className = `row of-${line.stream}${part ? " goes-on" : ""}${line === this.marked ? " found" : ""}`;
    const from = part * this.rows.columns;
    const to = Math.min(line.text.length, from + this.rows.columns);
    if (!line.styles) element.textContent = line.text.slice(from, to);
    else this.styled(element, line, from, to);
    return element;
  }

  styled(element, line, from, to) {
    const { text, styles } = line;
    for (let at = 0; at < styles.length; at += 2) {
      const begin = Math.max(from, styles[at]);
      const end = Math.min(to, styles[at + 2] ?? to);
      if (end <= begin) continue;
      const name = classesOf(styles[at + 1]);
      const piece = document.createElement("span");
      if (name) piece.className = name;
      piece.textContent = text.slice(begin, end);
      element.append(piece);
    }
  }
}

// Makes `elements` the children of `parent` and moves none that is in its place: a selection in them stays.
function reconcile(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstChild;
  for (const element of elements) {
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
}
