"""What this adapter wants to stand in `local` of a start-up kit; needs no NVFlare, so that kits are made without it."""

import json
from collections.abc import Mapping

from pharmonia.base.canonical import Json
from pharmonia.engines.nvflare import settings

# What jobs may name, whole: NVFlare calls whatever it finds by such a path, imported functions and classes too, so that
# the name of a package or of a module would open everything that stands in it.
CONTROLLER = "pharmonia.engines.nvflare.conduct_seat.SeatController"
EXECUTOR = "pharmonia.engines.nvflare.conduct_site.SiteExecutor"
STORAGE = "storage"  # in the workspace; NVFlare makes the folder as its process sees it, and looks for it through ours
MAX_FRAME_BYTES = 1 << 30
_THEIRS = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
_OURS = "pharmonia.engines.nvflare.provision.WorkspaceStorage"


def site_files() -> Mapping[str, Json]:
    """Files of a data owner's `local`, by name: jobs may name the site's one class, and no log leaves."""
    return {**_both(), "resources.json": settings.site_resources([EXECUTOR])}


def server_files() -> Mapping[str, Json]:
    """Files of the server's `local`, by name: as a site's, one job at a time, kept in the workspace."""
    text = json.dumps(settings.server_resources([CONTROLLER], STORAGE))
    return {**_both(), "resources.json": json.loads(text.replace(_THEIRS, _OURS))}


def _both() -> Mapping[str, Json]:
    return {
        "comm_config.json": settings.communication(MAX_FRAME_BYTES),
        "log_config.json": settings.logging_config(),
    }
