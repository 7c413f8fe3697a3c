"""The HTTP API: parse, call the service, show what it says. No rules here."""
