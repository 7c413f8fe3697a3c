"""Output while it is printed: what nodes send of it is kept for as long as somebody reads it."""
