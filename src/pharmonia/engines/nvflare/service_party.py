"""A partner's service: its site's process, connected to the coordinator's server, for as long as the partner likes."""

from pharmonia.engines.nvflare.federation_state import Phase
from pharmonia.engines.nvflare.service import POLL_S, Service
from pharmonia.run.metrics_text import Figure
from pharmonia.run.servicelog import Field, Happening, Level


def serve_party(service: Service) -> None:
    """Keep the site's process alive and connected until the service is told to stop.

    Raises:
        ServiceBusyError: Another process serves the folder or the kit.
        EngineError: The process ended too often.
    """
    with service.alive():
        was_connected = False
        while not service.stop.wait(POLL_S):
            service.revive()
            is_connected = service.is_connected()
            if is_connected != was_connected:
                event = Happening.SERVER_CONNECTED if is_connected else Happening.SERVER_LOST
                level = Level.INFO if is_connected else Level.WARNING
                service.log.say(level, event, {Field.PORT: service.station.port})
                service.move(Phase.CONNECTED if is_connected else Phase.STARTING)
            was_connected = is_connected


def party_figures(service: Service) -> tuple[Figure, ...]:
    """What a partner's metrics say besides those of every service."""
    is_connected = float(service.state.phase is Phase.CONNECTED)
    return (Figure(name="connected", help="Whether a connection to the server stands.", value=is_connected),)
