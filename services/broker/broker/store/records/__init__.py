"""What goes into the store and comes out of it: plain frozen records, by subject."""
