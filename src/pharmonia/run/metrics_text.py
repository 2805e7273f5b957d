"""What a monitoring system reads of a service: Prometheus' text format, made by its own client library."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a service, none of which says anything of data.

    Args:
        name: As Prometheus has it, with its unit; `pharmonia_` is put before it.
        help: What it is.
        value: Now.
    """

    name: str
    help: str
    value: float


def metrics_text(service: str, figures: tuple[Figure, ...]) -> bytes:
    """The page of a service's figures, each under the label `service`.

    Args:
        service: The partner's id.
        figures: Each name once.
    """
    registry = CollectorRegistry()
    for figure in figures:
        gauge = Gauge(f"pharmonia_{figure.name}", figure.help, ["service"], registry=registry)
        gauge.labels(service).set(figure.value)
    return bytes(generate_latest(registry))
