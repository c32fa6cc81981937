"""The built-in verifiers, one question a file: availability, duplication, failover, loss, phantoms.

What they share: `records` (dense sets of messages), `gaps` (times without service), `schedule` and
`buckets` (due times); `fates` belongs to loss, `interruptions` to failover.
"""
