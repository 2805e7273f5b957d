"""Fixtures for all tests: a cache of their own, the embedded sample, and full KIBA where it can be had."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pharmonia.data.interactions import EncodedInteractions
from pharmonia.learn.network import use_one_thread
from pharmonia.run import datasets
from pharmonia.run.cache import cache_dir as cache_in_use
from pharmonia.run.cache import is_ready

use_one_thread()  # as every worker process does
settings.register_profile("pharmonia", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no timed test
settings.load_profile("pharmonia")
USERS_CACHE = cache_in_use()  # before any test chooses its own

HOW_TO = "run `PHARMONIA_MIRROR=/path/to/data make test` (KIBA alone: `pharmonia data fetch kiba`)"


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache in PHARMONIA_CACHE, so that no test touches the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHARMONIA_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The mirror directory with the raw files of KIBA, Davis and Biogen ADME."""
    named = os.environ.get("PHARMONIA_MIRROR")
    if not named:
        pytest.skip(f"no mirror of the public data sets: {HOW_TO}")
    return Path(named)


@pytest.fixture(scope="session")
def kiba_sample() -> EncodedInteractions:
    """The 5,000 embedded interactions."""
    return datasets.load("kiba-sample")


@pytest.fixture(scope="session")
def kiba(cache_dir: Path, request: pytest.FixtureRequest) -> EncodedInteractions:
    """Full KIBA, from the user's cache if it is there, else fetched from the mirror once."""
    assert cache_dir == cache_in_use()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHARMONIA_CACHE", str(USERS_CACHE))
        if is_ready("kiba"):
            return datasets.load("kiba")
    datasets.fetch("kiba", mirror=request.getfixturevalue("mirror"))
    return datasets.load("kiba")
