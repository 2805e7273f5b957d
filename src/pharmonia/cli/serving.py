"""What `party start` and `coordinator start` share: the kit looked at, a log on stdout, a health page, signals."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import KitError, MissingExtraError

if TYPE_CHECKING:
    from pharmonia.engines.nvflare.service import Service
    from pharmonia.engines.nvflare.supervisor import Kind
    from pharmonia.run.metrics_text import Figure
    from pharmonia.run.site_config import CoordinatorConfig, SiteConfig

FAULTS = 20
HealthOption = Annotated[
    int | None,
    typer.Option("--health", help="Answer /healthz, /readyz and /metrics on this port of 127.0.0.1.", min=1024),
]
FaultsOption = Annotated[int, typer.Option("--faults", help="Give up after more faults than this within an hour.")]


def run_party(folder: Path, kit: Path, health: int | None, n_faults: int) -> None:
    """Serve a partner's site.

    Raises:
        PharmoniaError: The folder or the kit will not do, or the process ended too often.
    """
    require_extra()
    from pharmonia.engines.nvflare.service_party import party_figures, serve_party  # noqa: PLC0415
    from pharmonia.engines.nvflare.supervisor import Kind  # noqa: PLC0415
    from pharmonia.run.site_config import read_site  # noqa: PLC0415

    _run(Kind.SITE, folder, kit, read_site(folder), health, n_faults, serve_party, party_figures)


def run_coordinator(folder: Path, kit: Path, health: int | None, n_faults: int) -> None:
    """Serve the coordinator's folder.

    Raises:
        PharmoniaError: The folder or the kit will not do, or the process or the run failed too often.
    """
    require_extra()
    from pharmonia.engines.nvflare.service_coordinator import coordinator_figures, serve_coordinator  # noqa: PLC0415
    from pharmonia.engines.nvflare.supervisor import Kind  # noqa: PLC0415
    from pharmonia.run.site_config import read_coordinator  # noqa: PLC0415

    config = read_coordinator(folder)
    _run(Kind.SERVER, folder, kit, config, health, n_faults, serve_coordinator, coordinator_figures)


def _run(
    kind: "Kind",
    folder: Path,
    kit: Path,
    config: "SiteConfig | CoordinatorConfig",
    health: int | None,
    n_faults: int,
    serve: "Callable[[Service], None]",
    figures: "Callable[[Service], tuple[Figure, ...]]",
) -> None:
    from pharmonia.cli.deploy import engine_settings  # noqa: PLC0415
    from pharmonia.deploy.check import check_kit  # noqa: PLC0415
    from pharmonia.deploy.folder import read_manifest  # noqa: PLC0415
    from pharmonia.engines.nvflare.health import HealthServer  # noqa: PLC0415
    from pharmonia.engines.nvflare.service import Service, stopping  # noqa: PLC0415
    from pharmonia.engines.nvflare.supervisor import Endurance, Station  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.files import for_us_alone  # noqa: PLC0415
    from pharmonia.run.servicelog import ServiceLog  # noqa: PLC0415

    check_kit(kit, read_agreement(config.agreement), engine_settings(), datetime.now(UTC)).require()
    manifest = read_manifest(kit)
    if manifest.partner != config.partner:
        raise KitError(f"{kit} is a kit of {manifest.partner}, the folder is of {config.partner}; name its own kit")
    place = folder.absolute()  # for processes that work in other folders
    server = manifest.server
    station = Station(kind=kind, partner=config.partner, folder=place, kit=kit, host=server.host, port=server.port)
    log = ServiceLog(sys.stdout, config.partner, lambda: datetime.now(UTC))
    with for_us_alone(), stopping() as stop:
        service = Service(station, Endurance(n_faults=n_faults), log, stop)
        page = (
            nullcontext()
            if health is None
            else HealthServer(health, lambda: service.is_ready, lambda: service.health(lambda: figures(service)))
        )
        with page:
            serve(service)


def require_extra() -> None:
    """Names the extra to install where a package of it is missing.

    Raises:
        MissingExtraError: One is.
    """
    missing = [name for name in ("nvflare", "prometheus_client", "psutil") if find_spec(name) is None]
    if missing:
        remedy = "run `pip install '.[train,consortium]'` in Pharmonia's checkout"
        raise MissingExtraError(f"this command needs {', '.join(missing)}: {remedy}")
