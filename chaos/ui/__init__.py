"""What people see of a run: nothing here does more than listen to its events.

    text        numbers, lists and times as words; nothing that could steer a terminal
    terminal    consoles, and output that survives the reader's end
    progress    what is known of a run so far, and what each event says
    live, plain the two ways to show it: on a terminal, and as lines
    summary     the verdict at the end
"""
