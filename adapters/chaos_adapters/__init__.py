"""Plug-ins that touch the outside: message systems, places to run them, and faults."""
