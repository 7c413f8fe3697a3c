// The editor's colours: the page's own custom properties, which reach into the shadow tree, so that both themes work.
export function themeSheet(tags) {
  const styles = [
    { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--code-keyword)" },
    { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--code-string)" },
    { tag: [tags.number, tags.bool, tags.null, tags.atom], color: "var(--code-number)" },
    { tag: [tags.comment, tags.meta], color: "var(--code-comment)", fontStyle: "italic" },
    { tag: [tags.function(tags.variableName), tags.definition(tags.variableName), tags.className], color: "var(--code-name)" },
    { tag: [tags.standard(tags.variableName), tags.typeName, tags.self], color: "var(--code-type)" },
  ];
  const dark = {
    "&": { color: "var(--ink)", backgroundColor: "var(--sunk)", fontSize: "13px", height: "100%" },
    "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
    // The room above the first line is the scroller's: the content's own would reach the numbers only when it has been measured.
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", padding: "10px 0" },
    ".cm-content": { caretColor: "var(--ink)", padding: "0" },
    ".cm-gutters": { backgroundColor: "var(--sunk)", color: "var(--quiet)", border: "none", paddingLeft: "6px" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
    ".cm-specialChar": { color: "var(--bad)" },
    "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--hover)", outline: "1px solid var(--line-strong)" },
  };
  return { dark, styles };
}
