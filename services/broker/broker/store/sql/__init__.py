"""Every statement of the store, by name: SQLAlchemy Core on the tables, compiled once to SQL text.

The text goes straight to the driver, because building and executing a statement through SQLAlchemy costs several times
what SQLite needs to run it. Statuses are literals in the text, so that partial indexes are used by every planner.
"""
