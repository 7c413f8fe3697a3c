"""A package, so that its fixtures end with it: Playwright holds the thread's event loop while it is open."""
