"""The built-in verifiers, one question a file: availability, divergence, duplication, failover,
loss, ordering, phantoms, recovery.

What they share: `records` (dense sets of messages), `gaps` (times without service), `schedule`,
`buckets` and `timeline` (figures by time); `fates` belongs to loss, `interruptions` to failover,
`lines` to ordering, `copies` to divergence, `levels` to recovery.
"""
