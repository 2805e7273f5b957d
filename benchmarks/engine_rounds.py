"""A round between real processes over NVFlare with mutual TLS and secure sums: seconds, and the coordinator's memory.

Usage: python benchmarks/engine_rounds.py [--quick] [--save]

Four partners and the coordinator are processes of their own on this machine's loopback, provisioned, started and ended
here. A round is the broadcast of the parameters, each partner's masked update under a fresh header, and their mean; the
partners' learning is trivial (a fixed vector), so that what is measured is the engine, secure aggregation and frames.
With --quick only 1,000 and 1 million parameters. The last line is JSON.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from figures import Figure, at_most, publish
from pharmonia.base.arrays import Vector
from pharmonia.engines.nvflare.controller import CoordinatorController
from pharmonia.engines.nvflare.engine import NvflareEngine
from pharmonia.engines.nvflare.executor import PartyExecutor
from pharmonia.engines.nvflare.job import Job
from pharmonia.engines.nvflare.local import LocalFederation, Plot
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import Broadcast, Done, Repeat, SessionRequest, decode, encode, is_learning_frame
from pharmonia.run.cohorts import place_of
from pharmonia.run.engine import FrameHandler
from pharmonia.run.protection import Masked, SecureTerms, Work
from pharmonia.run.sums import Request, SecureSums
from pharmonia.run.tensors import digest_of
from pharmonia.secagg.header import Layout, Tier
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.roster import Member

PARTNERS = ("Ada", "Ben", "Cleo", "Dan")
GOALS_S = {1_000: 0.060, 1_000_000: 0.30, 16_000_000: 2.5}
N_ROUNDS = {1_000: 60, 1_000_000: 15, 16_000_000: 7}
MEMORY_GOAL_MB, START_GOAL_S = 600.0, 15.0
SIZES_FILE, RESULTS_FILE = "sizes.json", "results.json"
WEIGHT = 100


def identity_of(partner: str) -> IdentityKey:
    """A key that all processes of the benchmark derive alike."""
    return IdentityKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(partner.encode()).digest()))


MEMBERS = tuple(Member(id=name, identity=identity_of(name).public) for name in PARTNERS)


def layout_of(length: int) -> Layout:
    """One tensor."""
    return Layout(names=("w",), lengths=(length,))


class Fixed:
    """A partner whose update is always the same vector."""

    def __init__(self, folder: Path) -> None:
        """Folder: its own, named as it is."""
        self._seed = PARTNERS.index(folder.name)
        self._values = np.empty(0, dtype=np.float32)
        terms = SecureTerms(
            partner=folder.name,
            identity=identity_of(folder.name),
            members=MEMBERS,
            n_colluders=1,
            ring_degree=4,
            tier=Tier.COMMIT_THEN_MASK,
        )
        self._protection = Masked(terms, folder)

    def handle(self, frame: bytes) -> bytes:
        """What a party answers."""
        if not is_learning_frame(frame):
            return self._protection.answer(decode_secure(frame))
        match decode(frame):
            case SessionRequest() as request:
                return self._protection.start_session(request)
            case Broadcast() as broadcast:
                length = broadcast.parameters.size
                if self._values.size != length:
                    rng = np.random.default_rng(self._seed)
                    self._values = rng.standard_normal(length, dtype=np.float32) * np.float32(1e-3)
                work = Work(
                    place=place_of(broadcast),
                    sum_index=broadcast.sum_index,
                    magnitudes=broadcast.magnitudes,
                    layout=layout_of(length),
                    model_digest=digest_of(broadcast.parameters),
                    make=lambda: Contribution(weight=WEIGHT, values=self._values),
                )
                return self._protection.announce(work)
            case Repeat() as repeat:
                return self._protection.repeat(repeat)
            case _:
                return encode(Done())


class FixedExecutor(PartyExecutor):
    """A site of the benchmark."""

    def open_party(self, folder: Path) -> FrameHandler:
        """The partner whose folder it is."""
        folder.mkdir(parents=True, exist_ok=True)
        return Fixed(folder)


class RoundsController(CoordinatorController):
    """Does rounds of each size and writes down how long they took."""

    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        """Sizes from one file, results to another."""
        results: dict[str, object] = {"first_round_at": time.time()}
        for size in json.loads((folder / SIZES_FILE).read_text(encoding="utf-8")):
            results[str(size)] = rounds(engine, size)
        results["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        (folder / RESULTS_FILE).write_text(json.dumps(results), encoding="utf-8")


def rounds(engine: NvflareEngine, length: int) -> list[float]:
    """Seconds of each round after the first, whose scales are to be found."""
    sums = SecureSums(engine, MEMBERS, n_colluders=1, ring_degree=4)
    sums.start()
    parameters = np.random.default_rng(99).standard_normal(length)
    seconds = []
    for index in range(N_ROUNDS[length] + 1):
        started = time.perf_counter()
        found = sums.collect(request(index, parameters))
        seconds.append(time.perf_counter() - started)
        if found.total_weight != WEIGHT * len(PARTNERS) or found.n_clipped:
            raise RuntimeError(f"a wrong sum: weight {found.total_weight}, {found.n_clipped} clipped")
        del found
    return seconds[1:]


def request(index: int, parameters: Vector) -> Request:
    """Of one round's sum."""
    return Request(
        frame_of=lambda sum_index, magnitudes: Broadcast(
            sum_index=sum_index,
            magnitudes=magnitudes,
            round_index=index,
            step=0,
            n_steps=1,
            train=True,
            save=False,
            best_round=-1,
            parameters=parameters,
        ),
        layout=layout_of(parameters.size),
        model_digest=digest_of(parameters),
    )


def measure(sizes: list[int], folder: Path) -> list[Figure]:
    """A federation's rounds of each size."""
    classes = ("engine_rounds.RoundsController", "engine_rounds.FixedExecutor")
    paths = [str(Path(__file__).resolve().parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    plot = Plot(
        folder=folder / "federation",
        coordinator=folder / "coordinator",
        sites={name: folder / "sites" / name for name in PARTNERS},
        classes=classes,
        environment={"PYTHONPATH": os.pathsep.join(paths)},
    )
    plot.coordinator.mkdir(parents=True)
    (plot.coordinator / SIZES_FILE).write_text(json.dumps(sizes), encoding="utf-8")
    started = time.time()
    with LocalFederation(plot) as federation:
        job = Job(
            run="benchmark", partners=PARTNERS, controller=classes[0], executor=classes[1], n_needed=len(PARTNERS)
        )
        federation.wait(federation.submit(job), timeout_s=600.0)
    results = json.loads((plot.coordinator / RESULTS_FILE).read_text(encoding="utf-8"))
    figures = [at_most("start to first round, 4 partners: s", results["first_round_at"] - started, START_GOAL_S)]
    for size in sizes:
        seconds = results[str(size)]
        spread = f"{min(seconds):.3f} to {max(seconds):.3f} s over {len(seconds)} rounds"
        print(f"{size} parameters: {statistics.median(seconds):.3f} s, {spread}", file=sys.stderr)
        name = f"round of {size:,} parameters, 4 partners, mutual TLS, secure sums: median s"
        figures.append(at_most(name, statistics.median(seconds), GOALS_S[size]))
    name = f"coordinator's job at {sizes[-1]:,} parameters: peak resident MB"
    return [*figures, at_most(name, results["memory_mb"], MEMORY_GOAL_MB)]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 and 1 million parameters only")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/engine-rounds.json")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    sizes = list(GOALS_S)[: 2 if arguments.quick else 3]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(sizes, Path(folder))
    print(f"load average before: {load:.1f} of {os.cpu_count()} cores")
    publish("engine-rounds", figures, save=arguments.save)


if __name__ == "__main__":
    main()
