"""One module a place where clusters run."""
