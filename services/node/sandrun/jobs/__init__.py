"""A job's life: what it asks for, waiting for a slot, running, and what is kept of it."""
