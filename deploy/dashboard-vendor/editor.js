// CodeMirror with the languages of the pool; parts/editor.js puts an editor together from it.
import { javascriptLanguage } from "@codemirror/lang-javascript";
import { pythonLanguage } from "@codemirror/lang-python";
import { StreamLanguage } from "@codemirror/language";
import { perl } from "@codemirror/legacy-modes/mode/perl";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { shell } from "@codemirror/legacy-modes/mode/shell";

export { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
export { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
export { Compartment, EditorState } from "@codemirror/state";
export { EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
export { tags } from "@lezer/highlight";

const shells = () => StreamLanguage.define(shell);

// One for each interpreter that is known by name; others are shown without colours.
export const languages = {
  python3: () => pythonLanguage,
  node: () => javascriptLanguage,
  bash: shells,
  sh: shells,
  ruby: () => StreamLanguage.define(ruby),
  perl: () => StreamLanguage.define(perl),
};
