"""Figures of the broker and the sandbox (`make bench`), never part of the tests."""
