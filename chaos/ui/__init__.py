"""What people see of a run: nothing here does more than listen to its events.

text        numbers, lists and times as words; nothing that could steer a terminal
output      survives the end of whoever reads it
terminal    whether somebody looks, and a console that writes nothing but text
progress    what is known of a run so far, and what each event says
live, plain the two ways to show it: on a terminal, and as lines
summary     the verdict at the end
screen      chooses between the two, and keeps a slow terminal away from the run
"""
