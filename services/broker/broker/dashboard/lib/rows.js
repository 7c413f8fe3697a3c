// Which rows of a screen of so many columns a transcript's lines take. Counts anew only from the first line that changed.
export class Rows {
  constructor(transcript) {
    this.transcript = transcript;
    this.columns = 80;
    this.shown = null; // a stream, or null for all
    this.starts = [0]; // the first row of each line, and one more: all rows
    this.from = 0;
    this.dropped = 0;
  }

  get total() {
    return this.starts[this.starts.length - 1];
  }

  set(columns, shown) {
    if (columns === this.columns && shown === this.shown) return;
    this.columns = columns;
    this.shown = shown;
    this.from = 0;
  }

  settle() {
    const { transcript, starts, columns, shown } = this;
    const { lines } = transcript;
    if (transcript.dropped !== this.dropped) {
      this.dropped = transcript.dropped;
      this.from = 0;
    }
    const from = Math.min(this.from, transcript.changed, starts.length - 1);
    starts.length = from + 1;
    for (let at = from; at < lines.length; at += 1) {
      const line = lines[at];
      const hidden = shown && line.stream !== shown && line.stream !== "note";
      starts.push(starts[at] + (hidden ? 0 : Math.max(1, Math.ceil(line.text.length / columns))));
    }
    transcript.changed = lines.length;
    this.from = lines.length;
  }

  // The line that a row belongs to: the last one that begins at or before it and takes any row.
  lineAt(row) {
    const { starts } = this;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle + 1] > row) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
