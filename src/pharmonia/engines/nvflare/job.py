"""The job that a coordinator submits to NVFlare: two class paths and a run's id, no code."""

import json
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.canonical import Json
from pharmonia.base.errors import OptionError

JOB_NAME = "pharmonia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run as NVFlare is told of it.

    Args:
        run: Its id.
        partners: Names of the sites, in the order of replies.
        controller: Class path of the coordinator's workflow, installed at the server.
        executor: Class path of the sites' side, installed at each.
        n_needed: Sites without which the job does not start or go on.

    Raises:
        OptionError: No partners, or one twice.
    """

    run: str
    partners: tuple[str, ...]
    controller: str
    executor: str
    n_needed: int

    def __post_init__(self) -> None:
        if not self.partners or len(set(self.partners)) != len(self.partners):
            raise OptionError(f"a job has partners, each once; got {self.partners}")
        if not 1 <= self.n_needed <= len(self.partners):
            raise OptionError(f"a job of {len(self.partners)} partners cannot need {self.n_needed}")


def write_job(job: Job, folder: Path) -> Path:
    """The job's folder, ready to be submitted, under the given one."""
    meta: Json = {
        "name": JOB_NAME,
        "resource_spec": {},
        "min_clients": job.n_needed,
        "mandatory_clients": list(job.partners) if job.n_needed == len(job.partners) else [],
        "deploy_map": {"app": ["@ALL"]},
    }
    # np_download_chunk_size 0: nothing is fetched by NVFlare's object downloader, whose handshake takes 160 ms
    common: dict[str, Json] = {
        "format_version": 2,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    }
    common["np_download_chunk_size"] = 0
    server: Json = {
        **common,
        "workflows": [{"id": "run", "path": job.controller, "args": {"run": job.run, "partners": list(job.partners)}}],
        "task_request_interval": 10.0,
    }
    client: Json = {
        **common,
        "executors": [{"tasks": ["pharmonia.*"], "executor": {"path": job.executor, "args": {"run": job.run}}}],
    }
    root = folder / JOB_NAME
    config = root / "app" / "config"
    config.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (root / "meta.json", meta),
        (config / "config_fed_server.json", server),
        (config / "config_fed_client.json", client),
    ):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return root
