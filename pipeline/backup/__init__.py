"""A whole directory as a folder of files, and from one set of stores to another."""
