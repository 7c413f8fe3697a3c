"""Contents too large for rows: files named by their SHA-256, each stored once."""
