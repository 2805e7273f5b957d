"""Health of a service over HTTP, for whoever watches it: /healthz, /readyz and /metrics, on this machine alone.

/healthz  200 while the service lives
/readyz   200 while it can take part in a run, 503 otherwise
/metrics  Prometheus' text format

Whoever probes the first two ends a service that does not answer in time, so that they wait for nothing: what a store or
a disk is asked for belongs to the third.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from pharmonia.base.errors import OptionError
from pharmonia.run.metrics_text import CONTENT_TYPE, Figure, metrics_text

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a service is, at a moment.

    Args:
        service: The partner's id.
        figures: Of its metrics.
    """

    service: str
    figures: tuple[Figure, ...]


class HealthServer:
    """Answers while its context lasts."""

    def __init__(self, port: int, is_ready: Callable[[], bool], look: Callable[[], Health]) -> None:
        """Answer from threads of its own.

        Args:
            port: On the loopback interface; 0 for any free one.
            is_ready: Whether the service can take part in a run; must answer at once.
            look: Asked for the metrics alone.

        Raises:
            OptionError: The port is taken, or none.
        """
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(is_ready, look))
        except (OSError, OverflowError) as error:
            raise OptionError(f"no health page on {LOOPBACK}:{port}: {error}; name a free port above 1023") from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="health")

    @property
    def port(self) -> int:
        """Where it answers."""
        return int(self._server.server_address[1])

    def __enter__(self) -> "HealthServer":
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()


def _handler(is_ready: Callable[[], bool], look: Callable[[], Health]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET of the three pages."""

        timeout = 10.0

        def do_GET(self) -> None:
            """Answer one request."""
            match self.path:
                case "/healthz":
                    self._say(200, "text/plain", b"ok\n")
                case "/readyz" if is_ready():
                    self._say(200, "text/plain", b"ready\n")
                case "/readyz":
                    self._say(503, "text/plain", b"not ready\n")
                case "/metrics":
                    health = look()
                    self._say(200, CONTENT_TYPE, metrics_text(health.service, health.figures))
                case _:
                    self._say(404, "text/plain", b"there are /healthz, /readyz and /metrics\n")

        def _say(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """A request is no event of the service."""

    return Handler
