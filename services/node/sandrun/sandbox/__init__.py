"""One sandbox per job: namespaces, system call filter, limits, and a supervisor that measures and ends it."""
