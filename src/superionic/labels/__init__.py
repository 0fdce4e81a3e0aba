"""Reference calculations behind one small protocol."""
