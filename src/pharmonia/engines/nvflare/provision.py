"""Where NVFlare's server keeps its jobs when it is started from a kit: in the kit's own workspace."""

from pathlib import Path

from nvflare.app_common.storages.filesystem_storage import FilesystemStorage


class WorkspaceStorage(FilesystemStorage):  # type: ignore[misc] # NVFlare has no types
    """NVFlare's storage under the workspace of its process, so that a kit names no path of a machine."""

    def __init__(self, root_dir: str = "/", uri_root: str = "/") -> None:
        """Both as NVFlare's own, from the workspace up; its services make the workspace their current folder."""
        super().__init__(root_dir=str(Path.cwd() / root_dir.strip("/")), uri_root=uri_root)
