"""The record of a run: Arrow IPC streams of what every client did, and events for people.

    RUN/history/producer-0.sends.arrow         one stream a worker process, see `schema`
    RUN/history/consumer-0.deliveries.arrow
    RUN/history/reader-0.stored.arrow          what the broker held at the end
    RUN/events.jsonl                           phases, faults and their proofs, views, exits

A stream needs no footer: after a `kill -9` everything up to the last written batch can be read.
"""
