"""The catalogue: pinned sources, stated terms, and names that help."""

import re
from pathlib import Path

import pytest

from pharmonia.base.canonical import digest_file
from pharmonia.base.errors import UnknownNameError
from pharmonia.data.catalogue import CATALOGUE, CatalogueEntry, catalogue_entry

entries = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)


@entries
def test_every_data_set_states_its_terms_and_whom_to_cite(entry: CatalogueEntry) -> None:
    assert entry.name == catalogue_entry(entry.name).name
    assert entry.licence
    assert "doi:10." in entry.citation


@entries
def test_every_source_file_is_pinned_to_a_commit_and_a_digest(entry: CatalogueEntry) -> None:
    for file in entry.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.n_bytes > 0
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", file.url)
        assert file.url.endswith(file.path.split("/", 1)[1])


@entries
@pytest.mark.mirror
def test_the_digests_are_those_of_the_sources(entry: CatalogueEntry, mirror: Path) -> None:
    for file in entry.files:
        path = mirror / file.path
        assert (digest_file(path), path.stat().st_size) == (file.sha256, file.n_bytes)


def test_no_pickle_is_ever_fetched() -> None:
    assert {Path(file.path).suffix for entry in CATALOGUE.values() for file in entry.files} == {".txt", ".csv"}


def test_an_unknown_name_lists_the_known_and_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'KIBA'.*mean 'kiba'.*biogen-adme, davis, kiba, kiba-sample"):
        catalogue_entry("KIBA")
    with pytest.raises(UnknownNameError, match=r"'pdb'\. There are"):
        catalogue_entry("pdb")
