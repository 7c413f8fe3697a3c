// Small drawings. They stand beside words, so that nobody has to see them.
import { html } from "../vendor/view.js";

const PATHS = {
  overview: "M2 9h4l2-6 3 11 2-5h3",
  jobs: "M5 4h10M5 9h10M5 14h10M2 4h.01M2 9h.01M2 14h.01",
  nodes: "M3 3h12v5H3zM3 10h12v5H3zM6 5.5h.01M6 12.5h.01",
  submit: "M9 3v12M3 9h12",
  keys: "M11 7a4 4 0 1 0-3.4 4L9 12.500h2V15h3v-3L10.600 8.600",
  usage: "M3 15V9M8 15V3M13 15v-8M1 15h16",
  theme: "M9 2a7 7 0 1 0 7 7 5.500 5.500 0 0 1-7-7z",
  help: "M6.500 7a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .9-1 1.700M9 14h.01",
  copy: "M6 6h9v9H6zM3 12V3h9",
  download: "M9 2v9M5 8l4 4 4-4M3 15h12",
  stop: "M4 4h10v10H4z",
  again: "M14 5V2M14 5h-3M14 5A6 6 0 1 0 15 9",
  edit: "M3 15l1-4 8-8 3 3-8 8z",
  search: "M8 13A5 5 0 1 0 8 3a5 5 0 0 0 0 10zM12 12l4 4",
  close: "M4 4l10 10M14 4L4 14",
  left: "M11 3L5 9l6 6",
  right: "M7 3l6 6-6 6",
  up: "M3 11l6-6 6 6",
  down: "M3 7l6 6 6-6",
  waiting: "M9 5v4l3 2M9 2a7 7 0 1 0 .01 0z",
  assigned: "M3 9h10M9 5l4 4-4 4",
  running: "M6 4l8 5-8 5z",
  completed: "M3 9.500l4 4 8-9",
  failed: "M4 4l10 10M14 4L4 14",
  file: "M4 2h7l3 3v11H4zM11 2v3h3",
  logout: "M7 3H3v12h4M7 9h9M12 5l4 4-4 4",
};

export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 18 18" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
