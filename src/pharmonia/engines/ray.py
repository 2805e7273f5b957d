"""Spreading independent work over a Ray cluster; the only module that knows Ray."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from pharmonia.base.errors import EngineError, PharmoniaError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_POLL_S = 0.5


def for_each(
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    *,
    n_at_once: int,
    on_result: Callable[[int, ResultT], None],
) -> None:
    """Do the work on each item, the first first; results arrive as they are done.

    Runs on the cluster that RAY_ADDRESS names or that this machine belongs to, else on one started here for the while.

    Args:
        work: Must be importable on the workers, where Pharmonia is installed.
        items: What to work on; they travel, so keep them small.
        n_at_once: Tasks handed to the cluster; it works on as many of them at once as it has CPUs, also when it grows.
        on_result: Told the item's index and what came of it.

    Raises:
        EngineError: A worker died, or there is no cluster to be had.
        PharmoniaError: What the work itself raised.
        KeyboardInterrupt: Ctrl-C; tasks under way are cancelled.
    """
    owns = not ray.is_initialized()
    try:
        if owns:
            _join(n_at_once)
        _carry(work, items, n_at_once, on_result)
    except RayTaskError as error:
        if isinstance(error.cause, PharmoniaError):
            raise error.cause from error
        raise EngineError(f"a task failed on the Ray cluster: {error}") from error
    except (RayError, ConnectionError) as error:
        raise EngineError(f"the Ray cluster: {error}; run the same command again to resume") from error
    finally:
        if owns and ray.is_initialized():
            ray.shutdown()


def _join(n_at_once: int) -> None:
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        n_cpus = min(n_at_once, os.cpu_count() or 1)
        ray.init(num_cpus=n_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def _carry(
    work: Callable[[ItemT], ResultT], items: Sequence[ItemT], n_at_once: int, on_result: Callable[[int, ResultT], None]
) -> None:
    remote = ray.remote(num_cpus=1, max_retries=0)(work)
    waiting = list(enumerate(items))[::-1]
    running: dict[ray.ObjectRef[ResultT], int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_at_once:
                index, item = waiting.pop()
                running[remote.remote(item)] = index
            done, _ = ray.wait(list(running), timeout=_POLL_S)
            for reference in done:
                on_result(running.pop(reference), ray.get(reference))
    except BaseException:
        for reference in running:
            ray.cancel(reference, force=True)
        raise
