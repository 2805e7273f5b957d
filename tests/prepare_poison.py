"""Work that some texts end the process of; imports nothing, so that processes start quickly."""

import os
from collections.abc import Sequence


def die(texts: Sequence[str]) -> list[bytes]:
    """Ends its process, whatever the texts."""
    os._exit(len(texts))


def shout(texts: Sequence[str]) -> list[bytes]:
    """Each text in capitals; "poison" kills."""
    if "poison" in texts:
        os._exit(17)
    return [text.upper().encode() for text in texts]
