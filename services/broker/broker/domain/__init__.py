"""Rules of the queue as pure functions: no I/O, no framework, usable from every layer."""
