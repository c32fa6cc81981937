"""One module a fault; start a new one from `process_pause.py`."""
