"""HTTP: parse, call one service method, say what came of it."""
