"""What the server's job runs in a consortium's run: the plan in the coordinator's own folder."""

from datetime import UTC, datetime
from pathlib import Path

from pharmonia.engines.nvflare.controller import CoordinatorController
from pharmonia.engines.nvflare.engine import NvflareEngine
from pharmonia.run.records import RoundRecord
from pharmonia.run.seat import coordinate
from pharmonia.run.site_config import read_coordinator


class SeatController(CoordinatorController):
    """Conducts the run of the plan that `coordinator.toml` names; rounds are told by its store and its ledger."""

    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        """Train, or go on where the run stood; the model is in the coordinator's store when this returns."""
        coordinate(read_coordinator(folder), engine, engine, lambda: datetime.now(UTC), _untold)


def _untold(record: RoundRecord) -> None:
    """The store has the round already."""
