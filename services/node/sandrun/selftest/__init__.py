"""Proving at start that the sandbox holds: each layer is attacked from inside a real one; jobs run only if all hold."""
