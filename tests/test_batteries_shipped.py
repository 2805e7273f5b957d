"""The batteries that come with Pharmonia can be run as they are written: their data can be shared out and split."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

from pharmonia.bench import arms
from pharmonia.bench.battery import Battery, Cell, read_battery
from pharmonia.bench.battery_run import check_cells
from pharmonia.data.interactions import EncodedInteractions

SHIPPED = sorted(Path(str(files("pharmonia.bench") / "batteries")).glob("*.toml"))


def first_seed(path: Path, dataset: str) -> list[Cell]:
    """The cells of seed 0 on a data set; what is distilled there needs a second data set and is left out."""
    battery = read_battery(path)
    return [replace(cell, public="") for cell in battery.cells if cell.seed == 0 and cell.key.dataset == dataset]


def checked(path: Path, cells: list[Cell]) -> set[tuple[str, str, int]]:
    """What was shared out without a refusal: scenario, protocol, partners."""
    check_cells(Battery(name=path.stem, title="", cells=tuple(cells), training=()))
    return {(cell.key.scenario, cell.key.protocol, cell.key.n_partners) for cell in cells}


def test_every_cell_of_the_shipped_batteries_is_on_the_sample_or_on_kiba() -> None:
    """So the two tests below leave none out."""
    assert {"full", "paper", "quick"} <= {path.stem for path in SHIPPED}
    for path in SHIPPED:
        assert {cell.key.dataset for cell in read_battery(path).cells} <= {"kiba-sample", "kiba"}


def test_every_setting_on_the_embedded_sample_can_be_shared_out() -> None:
    found = {path.stem: checked(path, cells) for path in SHIPPED if (cells := first_seed(path, "kiba-sample"))}
    assert ("target", "cold-compound", 4) in found["quick"]


@pytest.fixture
def kiba_at_hand(kiba: EncodedInteractions) -> Iterator[None]:
    """KIBA for `share_out`, and nothing of it for later tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "load", lambda _: kiba)
        arms._loaded.cache_clear()
        yield
    arms._loaded.cache_clear()
    arms._share_out.cache_clear()


@pytest.mark.mirror
@pytest.mark.usefixtures("kiba_at_hand")
def test_every_setting_on_kiba_can_be_shared_out() -> None:
    """The hardest among them: 32 partners under every ownership, tested on other scaffolds, or other pairs of both."""
    found = {path.stem: checked(path, cells) for path in SHIPPED if (cells := first_seed(path, "kiba"))}
    owners = ("iid", "target", "compound", "scaffold", "family", "dirichlet:0.5", "size-skew:10")
    assert set(product(owners, ("cold-scaffold", "cold-both"), (32,))) <= found["full"]
    assert {("target", "published", 32), ("diffused-target:0.0001", "published", 8)} <= found["paper"]
