"""Reads what each replica holds: the last work of the reader."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from chaos import message
from chaos.errors import ClusterError
from chaos.history.schema import ENDS, FINAL
from chaos.history.writer import Writer, stream_path
from chaos.load.assignment import Assignment
from chaos.load.control import Control
from chaos.spi import Held, PartitionEnd, Replicas

READ_REPLICAS_WITHIN_S = 120.0


def read_replicas(work: Assignment, broker: Replicas, control: Control) -> None:
    """Record what each node holds, in a table of its own. A node that does not answer is told by
    what is missing in it, and why in the log of the reader: the others are read all the same."""
    deadline = time.monotonic() + READ_REPLICAS_WITHIN_S
    for left, node in zip(range(len(work.clients), 0, -1), sorted(work.clients), strict=True):
        writer = Writer(stream_path(work.directory, node, "replicas"), "replicas")
        # Each node may use an equal part of what is left, so that a silent one leaves some.
        limit_s = (deadline - time.monotonic()) / left
        ends = []
        try:
            for found in broker.held(node, work.clients, work.experiment.stream, limit_s):
                if isinstance(found, PartitionEnd):
                    ends.append([found.partition, found.first, found.end, found.read])
                else:
                    _write_held(work.run, writer, found)
                if control.stopped():
                    return
        except ClusterError as error:
            sys.stderr.write(f"{node} was not read to its end: {error}\n")
        writer.write(metadata={ENDS: json.dumps(ends).encode(), FINAL: b"1"})
        writer.close()


def _write_held(run: int, writer: Writer, held: Held) -> None:
    decoded = message.decode(run, held.bodies)
    writer.write([
        np.full(len(held.firsts), held.partition), held.firsts, held.lasts, held.digests,
        held.epochs, decoded.producer, decoded.sequence,
    ])  # fmt: skip
