"""Realistic outcomes made up for the tests of the evaluation; no model is trained."""

import numpy as np
import numpy.typing as npt

from pharmonia.evaluate.outcome import (
    Arm,
    Cost,
    Curve,
    Holding,
    Holdings,
    RunDescription,
    SeedOutcome,
    mean_curve,
)

DIGEST = "ab" * 32


def made_up_outcome(
    *,
    seed: int = 1,
    n_partners: int = 4,
    n_test: int = 400,
    alone_noise: float = 0.75,
    federated_noise: float = 0.5,
    pooled_noise: float = 0.45,
    names: tuple[str, ...] = (),
) -> SeedOutcome:
    """Measured values like KIBA's, and predictions that miss them by normal noise of these sizes."""
    rng = np.random.default_rng(1000 * seed + n_partners)
    partners = names or tuple(f"partner-{i + 1}" for i in range(n_partners))
    measured = np.round(rng.gamma(2.2, 0.55, size=n_test) + 10.6, 1)
    weights = rng.dirichlet(np.full(n_partners, 6.0))
    owner = np.sort(np.concatenate([np.arange(n_partners), rng.choice(n_partners, n_test - n_partners, p=weights)]))
    shared = rng.normal(0, 0.7 * alone_noise, n_test)  # what no single partner can learn
    alone = measured + shared + rng.normal(0, 0.7 * alone_noise, size=(n_partners, n_test))
    alone[owner, np.arange(n_test)] -= 0.3 * (alone[owner, np.arange(n_test)] - measured)
    return SeedOutcome(
        seed=seed,
        partners=partners,
        test_rows=np.arange(n_test) * 3 + seed,
        measured=measured,
        owner=owner.astype(np.int16),
        alone=alone,
        pooled=measured + rng.normal(0, pooled_noise, n_test),
        federated=measured + rng.normal(0, federated_noise, n_test),
        holdings=made_up_holdings(partners, owner, rng),
        curves=made_up_curves(partners, rng, federated_noise**2, pooled_noise**2, alone_noise**2),
        costs=made_up_costs(n_partners),
    )


def made_up_holdings(partners: tuple[str, ...], owner: npt.NDArray[np.int64], rng: np.random.Generator) -> Holdings:
    """Four training rows per test row; compounds overlap, targets do not."""
    n_partners = len(partners)
    n_test = np.bincount(owner, minlength=n_partners)
    uses = rng.random((n_partners, 458)) < 0.45
    n_targets = np.maximum(1, n_test * 189 // n_test.sum())
    shared = uses.astype(np.int64) @ uses.T.astype(np.int64)
    return Holdings(
        partners=tuple(
            Holding(
                partner=name,
                n_train=int(4 * n_test[i]),
                n_valid=int(n_test[i] // 2),
                n_test=int(n_test[i]),
                n_compounds=int(shared[i, i]),
                n_targets=int(n_targets[i]),
            )
            for i, name in enumerate(partners)
        ),
        shared_compounds=shared,
        shared_targets=np.diag(n_targets),
    )


def made_up_curves(
    partners: tuple[str, ...], rng: np.random.Generator, federated: float, pooled: float, alone: float
) -> tuple[Curve, ...]:
    """Errors that fall from 2.5 and level off with some noise."""

    def curve(arm: Arm, partner: str | None, end: float, n_rounds: int) -> Curve:
        rounds = np.arange(n_rounds)
        values = (end + (2.5 - end) * np.exp(-rounds / 5)) * rng.normal(1, 0.03, n_rounds)
        return Curve(arm=arm, partner=partner, valid_mse=values, best_round=int(values.argmin()))

    own = [curve(Arm.ALONE, name, alone * rng.uniform(0.8, 1.3), int(rng.integers(18, 31))) for name in partners]
    together = (curve(Arm.FEDERATED, None, federated, 30), curve(Arm.POOLED, None, pooled, 26))
    return (*own, mean_curve(own, [10] * len(partners)), *together)


def made_up_costs(n_partners: int) -> tuple[Cost, ...]:
    """Like GraphDTA of 1.2 million parameters over 30 rounds."""
    traffic = 30 * n_partners * 4_800_000
    return (
        Cost(arm=Arm.ALONE, n_rounds=30, wall_s=24.1, cpu_s=45.0, bytes_to_partners=0, bytes_from_partners=0),
        Cost(
            arm=Arm.FEDERATED,
            n_rounds=30,
            wall_s=27.9,
            cpu_s=51.3,
            bytes_to_partners=traffic,
            bytes_from_partners=traffic,
            n_clipped=0,
            sum_error=2.5e-7,
        ),
        Cost(arm=Arm.POOLED, n_rounds=26, wall_s=22.5, cpu_s=41.7, bytes_to_partners=0, bytes_from_partners=0),
    )


def made_up_description(seeds: tuple[int, ...] = (1,), n_partners: int = 4) -> RunDescription:
    """A run of the quickstart."""
    return RunDescription(
        dataset="kiba-sample",
        measure="KIBA score",
        n_rows=5000,
        n_compounds=458,
        n_targets=189,
        licence="MIT (pydebiaseddta); KIBA: see the source",
        citation="Tang et al. 2014, doi:10.1021/ci400709d",
        partition="target",
        split="random",
        seeds=seeds,
        model="GraphDTA GIN",
        n_params=1_200_000,
        norm="layer",
        method="fedavg",
        aggregation="secure",
        n_rounds=30,
        local_epochs=1,
        batch_size=128,
        optimiser="Adam",
        learning_rate=0.001,
        patience=10,
        version="0.1.0",
        command=f"pharmonia compare kiba-sample --partners {n_partners} --partition target --split random",
        date="2025-11-21",
        machine="2 cores, 8 GB",
        digests=(("kiba-sample", DIGEST),),
    )
