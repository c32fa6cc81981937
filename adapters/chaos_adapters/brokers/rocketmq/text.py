"""Messages as text, for clients whose bodies end at their first zero byte.

A body goes as Base64 (RFC 4648, a third longer), and everything that reads bodies takes it back:
one that begins as the magic of our messages does in Base64, which no body of ours does by itself.
"""

from __future__ import annotations

import binascii

_BEGIN = b"bXFjM"
"""The magic, `mqc1`, in Base64, as far as that does not depend on what follows."""


def as_text(body: bytes) -> bytes:
    """For the wire."""
    return binascii.b2a_base64(body, newline=False)


def from_text(body: bytes) -> bytes:
    """A body as it was before; one that never was text, or is damaged, as it is."""
    if not body.startswith(_BEGIN):
        return body
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error:
        return body
