"""One package a message system."""
