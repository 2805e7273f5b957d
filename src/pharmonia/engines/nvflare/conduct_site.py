"""What a site's job runs in a consortium's run: the partner's own folder, opened as a party."""

from datetime import UTC, datetime
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext

from pharmonia.engines.nvflare.executor import PartyExecutor
from pharmonia.engines.nvflare.tenure import Tenant, Tenure
from pharmonia.run.documents import read_plan
from pharmonia.run.engine import FrameHandler
from pharmonia.run.preflight_rehearsal_site import Rehearsing
from pharmonia.run.site import open_site
from pharmonia.run.site_config import read_site


class SiteExecutor(PartyExecutor):
    """Answers with the partner whose `site.toml` lies in the site's folder, until the job ends."""

    def __init__(self, run: str) -> None:
        """Run: id of the run that the job is for."""
        super().__init__(run)
        self._tenure = Tenure()

    def open_party(self, folder: Path) -> FrameHandler:
        """The site; its copy of the ledger is locked against other processes until the job ends, and its last frame."""
        with self._tenure.at_work() as opened:
            config = read_site(folder)
            site = opened.enter_context(open_site(folder, now=lambda: datetime.now(UTC)))
            rehearsing = Rehearsing(site, config.partner, lambda: read_plan(config.plan).plan)
            opened.callback(rehearsing.close)
        return Tenant(rehearsing, self._tenure)

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Close the site with the job."""
        super().handle_event(event_type, fl_ctx)
        if event_type in (EventType.END_RUN, EventType.ABORT_TASK):
            self._tenure.end()
