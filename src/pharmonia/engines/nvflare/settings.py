"""What NVFlare's processes are told locally, on our terms: our classes only, no logs that leave, gRPC in large pieces.

The same files stand in a local federation and in the kits of real sites.
"""

from collections.abc import Sequence

from pharmonia.base.canonical import Json

CHUNK_BYTES = 2 << 20
WINDOW_BYTES = 8 << 20
# The C library keeps what frames and sums used, and uses it again; else every thread keeps its own, and the system
# gives each large vector new memory that it empties first, a quarter of all CPU of a long round. Speed only; other C
# libraries ignore it.
MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
_LAUNCHER = "nvflare.app_common.job_launcher"


def server_resources(classes: Sequence[str], storage: str) -> Json:
    """`resources.json` of the server.

    Args:
        classes: Class paths that a job may name.
        storage: Folder for jobs and snapshots.
    """
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(classes),
        "servers": [
            {
                "admin_storage": "transfer",
                "max_num_clients": 100,
                "heart_beat_timeout": 600,
                "download_job_url": "",
                "admin_timeout": 10.0,
            }
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {
                "uri_root": "/",
                "storage": {
                    "path": "nvflare.app_common.storages.filesystem_storage.FilesystemStorage",
                    "args": {"root_dir": f"{storage}/snapshots", "uri_root": "/"},
                },
            },
        },
        "components": [
            {
                "id": "job_scheduler",
                "path": "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                "args": {"max_jobs": 1, "min_schedule_interval": 1.0},
            },
            {
                "id": "job_manager",
                "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                "args": {"uri_root": f"{storage}/jobs", "job_store_id": "job_store"},
            },
            {"id": "job_store", "path": "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"},
            {
                "id": "process_launcher",
                "path": f"{_LAUNCHER}.server_process_launcher.ServerProcessJobLauncher",
                "args": {},
            },
        ],
    }


def site_resources(classes: Sequence[str]) -> Json:
    """`resources.json` of a site; without it NVFlare sends every site's error log to the server."""
    manager = "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager"
    consumer = "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer"
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(classes),
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "None"},
        "components": [
            {
                "id": "resource_manager",
                "path": manager,
                "args": {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300},
            },
            {"id": "resource_consumer", "path": consumer, "args": {}},
            {
                "id": "process_launcher",
                "path": f"{_LAUNCHER}.client_process_launcher.ClientProcessJobLauncher",
                "args": {},
            },
        ],
    }


def communication(max_frame_bytes: int) -> Json:
    """`comm_config.json` of both: how much is on its way at once, and the longest message that is taken at all."""
    return {
        "streaming_chunk_size": CHUNK_BYTES,
        "streaming_window_size": WINDOW_BYTES,
        "streaming_ack_interval": WINDOW_BYTES // 4,
        "streaming_max_blob_size": max_frame_bytes + (1 << 20),
    }


def logging_config() -> Json:
    """`log_config.json` of both: warnings and errors, in one file that turns over; NVFlare's own logs every task."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.handlers.RotatingFileHandler",
                "level": "WARNING",
                "formatter": "plain",
                "filename": "log.txt",
                "mode": "a",
                "maxBytes": 20_971_520,
                "backupCount": 4,
            }
        },
        "loggers": {"root": {"level": "WARNING", "handlers": ["file"]}},
    }
