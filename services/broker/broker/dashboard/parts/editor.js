// An editor with colours. CodeMirror lives in a shadow tree, where its styles are sheets made by script: the page's policy allows no others.
// Until its file has come, and where it cannot, a plain text field does.
import { themeSheet } from "../lib/editor-theme.js";
import { html, useEffect, useRef, useState } from "../vendor/view.js";

let library = null;
const load = () => (library ??= import("../vendor/editor.js"));

export function Editor({ value, language, readOnly, label, onValue, describedBy, invalid }) {
  const host = useRef(null);
  const editor = useRef(null);
  const latest = useRef(onValue);
  latest.current = onValue;
  const [ready, setReady] = useState(false);
  useEffect(() => {
    let gone = false;
    load().then((kit) => {
      if (gone || !host.current) return;
      const plain = host.current.nextSibling;
      const text = plain?.value ?? value; // what was typed while the library was on its way
      host.current.className = "editor-host"; // to be seen, so that lines are measured
      editor.current = make(kit, host.current, { value: text, language, readOnly, label }, (changed) => latest.current?.(changed));
      if (plain && plain === document.activeElement) editor.current.view.focus();
      setReady(true);
    }, () => null);
    return () => {
      gone = true;
      editor.current?.view.destroy();
      editor.current = null;
    };
  }, []);
  useEffect(() => editor.current?.speak(language), [language, ready]);
  useEffect(() => editor.current?.describe(describedBy, invalid), [describedBy, invalid, ready]);
  useEffect(() => editor.current?.take(value), [value, ready]);
  return html`<div class=${`editor ${readOnly ? "read-only" : ""}`}>
    <div ref=${host} class=${ready ? "editor-host" : "unseen"}></div>
    ${!ready && html`<textarea class="editor-plain" rows="12" readonly=${readOnly} spellcheck=${false} aria-label=${label} value=${value} onInput=${(event) => onValue?.(event.currentTarget.value)}></textarea>`}
  </div>`;
}

function make(kit, host, { value, language, readOnly, label }, changed) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const spoken = new kit.Compartment();
  const attributes = new kit.Compartment();
  const view = new kit.EditorView({
    parent: root,
    root,
    state: kit.EditorState.create({
      doc: value,
      extensions: [
        ...look(kit),
        readOnly ? [kit.EditorState.readOnly.of(true)] : editing(kit),
        spoken.of(grammar(kit, language)),
        attributes.of(kit.EditorView.contentAttributes.of({ "aria-label": label })),
        kit.EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
      ],
    }),
  });
  return {
    view,
    speak: (name) => view.dispatch({ effects: spoken.reconfigure(grammar(kit, name)) }),
    describe: (ids, invalid) => view.dispatch({ effects: attributes.reconfigure(kit.EditorView.contentAttributes.of({ "aria-label": label + (ids ? `. ${ids}` : ""), "aria-invalid": invalid ? "true" : "false" })) }),
    take: (text) => text !== view.state.doc.toString() && view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
  };
}

const grammar = (kit, name) => kit.languages[name]?.() ?? [];

function look(kit) {
  const { dark, styles } = themeSheet(kit.tags);
  return [
    kit.EditorView.theme(dark),
    kit.syntaxHighlighting(kit.HighlightStyle.define(styles)),
    kit.lineNumbers(),
    kit.highlightSpecialChars({ addSpecialChars: /[\u202a-\u202e\u2066-\u2069\u061c]/ }),
    kit.EditorView.lineWrapping,
    kit.EditorState.tabSize.of(4),
  ];
}

function editing(kit) {
  return [
    kit.history(),
    kit.indentUnit.of("    "),
    kit.indentOnInput(),
    kit.bracketMatching(),
    kit.highlightActiveLine(),
    kit.EditorView.domEventHandlers({ beforeinput: replace }),
    kit.keymap.of([{ key: "Mod-Enter", run: submit }, ...kit.defaultKeymap.filter((one) => one.key !== "Mod-Enter"), ...kit.historyKeymap, kit.indentWithTab]),
  ];
}

// What is typed over a selection. Left to the browser, the text would get the colours of what it replaces as an inline style, which the
// page's policy refuses with a report.
function replace(event, view) {
  if (event.inputType !== "insertText" || !event.data || view.composing || view.state.selection.main.empty) return false;
  event.preventDefault();
  view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
  return true;
}

// The form around the editor is submitted from within it.
function submit(view) {
  const host = view.dom.getRootNode().host;
  host?.closest("form")?.requestSubmit();
  return true;
}
