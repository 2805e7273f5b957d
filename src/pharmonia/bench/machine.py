"""What results were made on."""

import os
import platform
from importlib.metadata import version


def machine() -> str:
    """Cores, system and versions of this machine, for reports."""
    return (
        f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, PyTorch {version('torch')}"
    )
