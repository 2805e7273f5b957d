"""Made-up outcomes of a battery for tests; no model is trained."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pharmonia.evaluate.battery import ArmScore, BatteryArm, CellKey, CellOutcome
from pharmonia.evaluate.battery_plan import plan_of
from pharmonia.evaluate.battery_report import BatteryDataset, BatteryDescription, Budget, Unfinished
from pharmonia.evaluate.battery_stats import SettingResult, summarise

DIGEST = "cd" * 32
ROWS = "0123456789abcdef"
SCENARIOS = ("iid", "target", "compound", "diffused-target:0.1", "weak:0.3", "weak:1")
METHODS = ("fedavg", "fedprox", "scaffold")
PARTNERS = (2, 4, 8, 16, 32)
_HARDER = {"iid": 0.0, "target": 0.12, "compound": 0.05, "diffused-target": 0.04, "weak": 0.02}
_METHOD = {"fedavg": 0.0, "fedprox": 0.015, "scaffold": -0.03}


def made_up_key(
    scenario: str = "iid", n_partners: int = 4, method: str = "fedavg", *, dataset: str = "kiba", norm: str = "batch"
) -> CellKey:
    """A setting on KIBA's published fold."""
    return CellKey(
        dataset=dataset,
        scenario=scenario,
        protocol="published",
        n_partners=n_partners,
        model="gin",
        norm=norm,
        method=method,
    )


def made_up_cell(
    key: CellKey,
    seed: int,
    mse: Mapping[BatteryArm, float],
    *,
    curve: Iterable[float] = (0.6, 0.3),
    n_test: int = 500,
    rows: str | None = ROWS,
) -> CellOutcome:
    """A cell with these errors; the other metrics follow from them."""
    values = np.array(list(curve))
    scores = tuple(
        ArmScore(arm=arm, mse=error, ci=1 - error / 2, pearson=1 - error, r2m=0.5) for arm, error in mse.items()
    )
    traffic = values.size * key.n_partners * 4_800_000
    return CellOutcome(
        key=key,
        seed=seed,
        n_test=n_test,
        test_rows_digest=rows,
        scores=scores,
        rounds_run=values.size,
        n_params=1_200_000,
        bytes_to_partners=traffic,
        bytes_from_partners=traffic,
        cpu_s=75.0 + key.n_partners,
        wall_s=40.0 + key.n_partners,
        cpu_s_beside={arm: 30.0 for arm in (BatteryArm.ALONE, BatteryArm.POOLED) if arm in mse},
        sum_error=3.1e-7 if key.method == "fedavg" else None,
        curve=values,
        settings_digest=DIGEST,
    )


def main_arms(federated: float, alone: float = 0.3, pooled: float = 0.15) -> dict[BatteryArm, float]:
    """Errors of the arms that every claim needs; alone is the best alternative."""
    return {
        BatteryArm.ALONE: alone,
        BatteryArm.ENSEMBLE: 2 * alone,
        BatteryArm.FEDERATED: federated,
        BatteryArm.POOLED: pooled,
    }


def summed_up(cells: Sequence[CellOutcome]) -> tuple[SettingResult, ...]:
    """The settings of a battery that is finished."""
    return summarise(cells, plan_of(cells, []))


def made_up_battery(n_seeds: int = 3) -> tuple[CellOutcome, ...]:
    """All scenarios, partner counts and methods; federating pays for many partners that own different targets."""
    return tuple(
        _realistic_cell(made_up_key(scenario, n_partners, method), seed)
        for scenario in SCENARIOS
        for n_partners in PARTNERS
        for method in METHODS
        for seed in range(n_seeds)
    )


def _realistic_cell(key: CellKey, seed: int) -> CellOutcome:
    split = np.random.default_rng([seed, key.n_partners, len(key.scenario)])
    own = np.random.default_rng([seed, key.n_partners, len(key.scenario), METHODS.index(key.method)])
    steps = np.log2(key.n_partners)
    luck = split.normal(1.0, 0.01)
    share = key.parameter if key.kind == "weak" else 1.0
    pooled = 0.177 * luck * (1.0 + 0.1 * (1.0 - share))
    federated = pooled * (1.06 + 0.03 * steps + _HARDER[key.kind] + _METHOD[key.method]) * own.normal(1.0, 0.012)
    alone = pooled * (1.02 + 0.13 * steps) * luck
    ensemble = pooled * (1.05 + (0.35 if key.kind == "target" else 0.07) * steps) * luck
    mse = {
        BatteryArm.ALONE: alone,
        BatteryArm.ENSEMBLE: ensemble,
        BatteryArm.ENSEMBLE_WEIGHTED: ensemble * 0.98,
        BatteryArm.FEDERATED: federated,
        BatteryArm.POOLED: pooled,
        BatteryArm.BOOSTED: 0.24 * luck,
        BatteryArm.ADDITIVE: 0.31 * luck,
    }
    rounds = np.arange(int(own.integers(30, 41)))
    curve = (federated + (0.7 - federated) * np.exp(-rounds / 6)) * own.normal(1, 0.02, rounds.size)
    return made_up_cell(key, seed, mse, curve=curve, n_test=19_709)


def made_up_battery_description(
    battery: str = "paper", *, datasets: tuple[str, ...] = ("kiba",), unfinished: tuple[Unfinished, ...] = ()
) -> BatteryDescription:
    """A run of a battery on KIBA."""
    return BatteryDescription(
        battery=battery,
        datasets=tuple(
            BatteryDataset(name=name, measure="KIBA score", licence="see the source", citation="doi:10.1021/ci400709d")
            for name in datasets
        ),
        budgets=(
            *(Budget(name=method, rounds=40, local_epochs=1, patience=20) for method in METHODS),
            Budget(name="pooled", rounds=40, local_epochs=1, patience=20),
        ),
        unfinished=unfinished,
        notes=("Rounds were limited to 40 by the time at hand.",),
        command=f"pharmonia bench run {battery} --out battery",
        version="0.1.0",
        machine="2 cores, 8 GB",
        date="2025-11-21",
        digests=(("battery file", DIGEST), ("kiba", "ab" * 32)),
    )
