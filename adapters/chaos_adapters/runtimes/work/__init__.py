"""What the agent does by root's rights: these modules run in its container, which mounts them.

    python3 -m chaos_adapters.runtimes.work COMMAND JSON      prints JSON

Nothing but the standard library is there. A device is mounted only for as long as a command takes,
or until the holder ends that `fail` leaves behind: a file system that is mounted anywhere is
neither checked nor mounted anew.
"""
