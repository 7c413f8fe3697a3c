// What a job printed, as lines with styles; bounded, so that a job that prints for ever does not fill the browser.
import { Ansi } from "./ansi.js";
import { CONTROL, PLAIN } from "./look.js";

const MAX_LINES = 200_000;
const MAX_CHARS = 24_000_000;
const LONGEST_LINE = 4_096; // characters; a longer one goes on in the next
const TAB = 8;

// A line: its text; and `styles`, pairs of (place, style), each good up to the next; null when all of it is plain.
class Line {
  constructor(stream, place) {
    this.stream = stream;
    this.place = place; // among all lines that there ever were
    this.text = "";
    this.styles = null;
    this.last = PLAIN;
    this.version = 0;
  }
}

export class Transcript {
  constructor() {
    this.lines = [];
    this.dropped = 0; // lines that were forgotten at the beginning
    this.chars = 0;
    this.changed = 0; // the first line that changed since its reader set this
    this.pens = { stdout: new Pen(this, "stdout"), stderr: new Pen(this, "stderr") };
  }

  feed(stream, text) {
    this.pens[stream].ansi.feed(text);
    if (this.lines.length > MAX_LINES || this.chars > MAX_CHARS) this.forget();
  }

  // A line of our own between the job's: a new attempt, a gap.
  note(text) {
    for (const pen of Object.values(this.pens)) pen.line = null;
    const line = this.open("note");
    line.text = text;
  }

  open(stream) {
    const line = new Line(stream, this.dropped + this.lines.length);
    this.lines.push(line);
    return line;
  }

  // Forgets the older half.
  forget() {
    const gone = this.lines.splice(0, Math.ceil(this.lines.length / 2));
    this.dropped += gone.length;
    for (const line of gone) this.chars -= line.text.length;
    for (const pen of Object.values(this.pens)) if (pen.line?.place < this.dropped) pen.line = null;
    this.changed = 0;
  }

  // Everything as text, without colours.
  plain(stream) {
    return this.lines.filter((line) => line.stream !== "note" && (!stream || line.stream === stream)).map((line) => line.text).join("\n");
  }
}

// Writes one stream. Each stream has a line of its own under way, wherever that is among the lines.
class Pen {
  constructor(transcript, stream) {
    this.transcript = transcript;
    this.stream = stream;
    this.line = null;
    this.returned = false;
    this.ansi = new Ansi(this);
  }

  print(text, style) {
    const rest = text.includes("\t") ? this.untab(text) : text;
    for (let at = 0; at < rest.length; ) {
      const line = this.ready();
      const room = LONGEST_LINE - line.text.length;
      if (room <= 0) {
        this.line = null;
        continue;
      }
      this.put(line, rest.slice(at, at + room), style);
      at += room;
    }
  }

  control(text) {
    this.print(text, CONTROL);
  }

  newline() {
    this.returned = false;
    this.line ??= this.transcript.open(this.stream);
    this.line = null;
  }

  carriage() {
    this.returned = this.line !== null;
  }

  back() {
    const line = this.line;
    if (!line || !line.text) return;
    line.text = line.text.slice(0, -1);
    this.transcript.chars -= 1;
    this.touch(line);
  }

  ready() {
    this.line ??= this.transcript.open(this.stream);
    if (this.returned) {
      // What is printed after a carriage return replaces the line: progress bars do that.
      this.returned = false;
      this.transcript.chars -= this.line.text.length;
      this.line.text = "";
      this.line.styles = null;
      this.line.last = PLAIN;
    }
    return this.line;
  }

  put(line, text, style) {
    if (style !== line.last) {
      line.styles ??= [0, PLAIN];
      line.styles.push(line.text.length, style);
      line.last = style;
    }
    line.text += text;
    this.transcript.chars += text.length;
    this.touch(line);
  }

  touch(line) {
    line.version += 1;
    this.transcript.changed = Math.min(this.transcript.changed, line.place - this.transcript.dropped);
  }

  untab(text) {
    let column = this.line && !this.returned ? this.line.text.length : 0;
    return text.replace(/\t|[^\t]+/g, (part) => {
      const shown = part === "\t" ? " ".repeat(TAB - (column % TAB)) : part;
      column += shown.length;
      return shown;
    });
  }
}
