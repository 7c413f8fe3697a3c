// Preact with its hooks, and htm, which makes templates of it without a compiler and without eval.
import { h } from "preact";
import htm from "htm";

export { Fragment, createContext, h, render } from "preact";
export { useCallback, useContext, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
export const html = htm.bind(h);
