"""`broker-backup` and its way back: a live broker's data as one tar, and a fresh volume made of it."""
