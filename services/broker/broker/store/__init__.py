"""Every table and every statement. The rest of the broker sees the `Store` protocol and plain records."""
