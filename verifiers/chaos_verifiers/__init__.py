"""The built-in verifiers, one question a file, and what they share.

`records` holds dense sets of messages, `gaps` finds times without service.
"""
