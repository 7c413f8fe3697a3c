"""The rules of the broker: one module per verb. No HTTP, no SQL."""
