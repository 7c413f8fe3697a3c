"""Collecting what a stranger's program left behind, without trusting any of it."""
