// Terminal output made harmless: colours become styles, line feeds lines; every other control character is dropped or shown.
//
// Keeps its state between pieces, so that a sequence may be cut anywhere. One that never ends hides at most LONGEST characters.
import { Look } from "./look.js";

const LONGEST = 4096;
const LONGEST_CSI = 256;
const [BELL, BACK, TAB, LINE, RETURN, ESCAPE, DELETE, MARK] = [7, 8, 9, 10, 13, 27, 127, 0xfeff];

// Characters that are shown as what they are: C1 controls, and those that turn the reading direction or break lines.
const isOdd = (code) => code < 0xa0 || code === 0x61c || code === 0x200e || code === 0x200f || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === MARK;
const isPlain = (code) => code >= 32 && code !== DELETE && (code < DELETE || !isOdd(code));

export class Ansi {
  // `sink` has print(text, style), control(text), newline(), carriage() and back(); a style is a number of Look.
  constructor(sink) {
    this.sink = sink;
    this.look = new Look();
    this.begin("text"); // or "escape", "csi", "string", "string-escape"
  }

  begin(state) {
    this.state = state;
    this.held = "";
    this.skipped = 0;
  }

  feed(text) {
    let at = 0;
    while (at < text.length) at = this.state === "text" ? this.plain(text, at) : this.sequence(text, at);
  }

  plain(text, from) {
    let at = from;
    while (at < text.length && isPlain(text.charCodeAt(at))) at += 1;
    if (at > from) this.sink.print(text.slice(from, at), this.look.style);
    return at < text.length ? this.special(text, at) : at;
  }

  special(text, at) {
    const code = text.charCodeAt(at);
    if (code === LINE) this.sink.newline();
    else if (code === RETURN) this.sink.carriage();
    else if (code === TAB) this.sink.print("\t", this.look.style);
    else if (code === BACK) this.sink.back();
    else if (code === ESCAPE) this.begin("escape");
    else if (code !== BELL && code !== MARK) return this.shown(text, at, code);
    return at + 1;
  }

  // A run of the same control character: ^@ for NUL, <202E> for what has no such name.
  shown(text, at, code) {
    let end = at + 1;
    while (text.charCodeAt(end) === code) end += 1;
    const name = code < 32 ? `^${String.fromCharCode(code + 64)}` : code === DELETE ? "^?" : `<${code.toString(16).toUpperCase().padStart(code < 256 ? 2 : 4, "0")}>`;
    this.sink.control(name.repeat(end - at));
    return end;
  }

  // One character of an escape sequence. Answers where to go on.
  sequence(text, at) {
    const code = text.charCodeAt(at);
    if (this.state === "escape") return this.escape(text[at], code, at);
    if (this.state === "csi") return this.csi(text, at);
    this.skipped += 1;
    if (code === BELL || this.skipped > LONGEST) this.begin("text");
    else if (this.state === "string-escape") this.begin(text[at] === "\\" ? "text" : "string");
    else if (code === ESCAPE) this.state = "string-escape";
    else if (code === LINE) return this.again(at);
    return at + 1;
  }

  escape(character, code, at) {
    if (code === ESCAPE || code === LINE) return this.again(at);
    if (character === "[") this.begin("csi");
    else if ("]PX^_".includes(character)) this.begin("string");
    else if (code < 0x20 || code > 0x2f) this.begin("text"); // those between select character sets
    return at + 1;
  }

  csi(text, from) {
    let at = from;
    while (at < text.length && text.charCodeAt(at) >= 0x20 && text.charCodeAt(at) <= 0x3f) at += 1;
    this.held += text.slice(from, at);
    if (this.held.length > LONGEST_CSI) return this.again(at);
    if (at === text.length) return at;
    const code = text.charCodeAt(at);
    if (text[at] === "m") this.look.select(this.held);
    this.begin("text");
    return code >= 0x40 && code <= 0x7e ? at + 1 : at; // cut off by something else: that is looked at by itself
  }

  // The sequence is broken off, and the character that did so is looked at by itself.
  again(at) {
    this.begin("text");
    return at;
  }
}
