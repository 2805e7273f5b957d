"""One process of a local federation, which dies with the process that started it.

`python -m pharmonia.engines.nvflare.child PARENT server|site ARGUMENTS` runs NVFlare's own service of that kind;
PARENT is the number of the process that starts it.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1
_SERVICES = {
    "server": "nvflare.private.fed.app.server.server_train",
    "site": "nvflare.private.fed.app.client.client_train",
}


def main() -> None:
    """Bind this process's life to its parent's, where the system can, and become the service."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we were bound
            sys.exit(1)
    from pharmonia.engines.nvflare.auditlog import turn_audit_logs_over  # noqa: PLC0415 - NVFlare, once we are bound

    turn_audit_logs_over()
    service = _SERVICES[sys.argv.pop(1)]
    runpy.run_module(service, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
