"""The tables of a history. Times are ns on the run's clock; a number that is not known is -1."""

from __future__ import annotations

import pyarrow as pa

SENDS = pa.schema([
    ("sequence", pa.int64()),
    ("key", pa.int32()),         # number of the key (chaos.message.key), -1 for none
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("due_ns", pa.int64()),      # when it should have been sent: latency counts from here
    ("sent_ns", pa.int64()),     # when it was handed to the client
    ("done_ns", pa.int64()),     # when its outcome was known
    ("outcome", pa.int8()),      # chaos.spi.Outcome
])  # fmt: skip
"""One row for each send whose outcome is known, in the order in which outcomes became known.

A producer writes, *before* it uses them, up to which sequence number it may go on: the field
RESERVED in the metadata of a batch (which may be empty). A number below the last RESERVED without a
row is indeterminate; one from there on was never sent. The last batch of an orderly end has FINAL.
"""

DELIVERIES = pa.schema([
    ("producer", pa.int32()),    # -1: not a message of this run
    ("sequence", pa.int64()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("due_ns", pa.int64()),      # from the header
    ("received_ns", pa.int64()),
    ("redelivered", pa.bool_()), # the broker said that it may have been delivered before
    ("intact", pa.bool_()),      # length and CRC are right
    ("kind", pa.int8()),         # chaos.spi.Kind: 0 normal, else poisoned
    ("handled_ns", pa.int64()),  # when the application was done with it
])  # fmt: skip
"""One row for each message that a consumer received and was done with, in that order.

What "stored" and "dead" (what the dead-letter stream held at the end) have is alike.
"""

HANDLINGS = pa.schema([
    ("producer", pa.int32()),
    ("sequence", pa.int64()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("kind", pa.int8()),         # chaos.spi.Kind
    ("attempt", pa.int32()),     # from 1
    ("started_ns", pa.int64()),
    ("done_ns", pa.int64()),
    ("outcome", pa.int8()),      # chaos.spi.Handling
])  # fmt: skip
"""One row for each attempt to handle a message that was not handled at the first one, and for each
that was put into the dead-letter stream."""

REPLICAS = pa.schema([
    ("partition", pa.int32()),
    ("offset", pa.int64()),      # of the first message of a piece, as the node stores them
    ("last", pa.int64()),        # of its last message
    ("digest", pa.int64()),      # of its content
    ("epoch", pa.int32()),       # of the leader under which it was written
    ("producer", pa.int32()),    # of its first message, -1: not a message of this run
    ("sequence", pa.int64()),
])  # fmt: skip
"""One row for each piece that a node holds, in the order of offsets; the client is the node."""

TABLES = {
    "sends": SENDS, "deliveries": DELIVERIES, "stored": DELIVERIES, "dead": DELIVERIES,
    "handlings": HANDLINGS, "replicas": REPLICAS,
}  # fmt: skip

RESERVED = b"reserved"
FINAL = b"final"
ENDS = b"ends"
"""In the last batch of "stored", "dead" and "replicas": JSON list of [partition, first, end, read],
see spi.PartitionEnd."""
