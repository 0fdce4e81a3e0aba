"""Reading and writing crystal files."""
