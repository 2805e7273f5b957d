"""A round of ten partners between processes, secure aggregation on: seconds, bytes each way and peak memory of each.

Usage: python benchmarks/consortium_scale.py [--quick] [--save]

Ten partners and the coordinator are processes of their own with mutual TLS: first over loopback, then each partner
behind a line of 100 Mbit/s and 50 ms each way (`relay.py`, in this process). Learning is a fixed vector, as in
`engine_rounds.py`. 16 million shared parameters; with --quick 1 million, over the lines alone. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen

import numpy as np
import psutil

from engine_rounds import WEIGHT, Fixed, identity_of, request
from figures import RESULTS, Figure, at_most, publish
from pharmonia.base.errors import UnreachableError
from pharmonia.engines.nvflare.controller import CoordinatorController
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.engines.nvflare.executor import PartyExecutor
from pharmonia.engines.nvflare.job import Job
from pharmonia.engines.nvflare.local import SERVER, LocalFederation, Plot
from pharmonia.run.engine import FrameHandler
from pharmonia.run.protection import Masked, SecureTerms
from pharmonia.run.sums import SecureSums
from pharmonia.secagg.header import Tier
from pharmonia.secagg.roster import Member
from relay import Line, Relay

PARTNERS = tuple(f"partner-{number:02d}" for number in range(1, 11))
MEMBERS = tuple(Member(id=name, identity=identity_of(name).public) for name in PARTNERS)
N_COLLUDERS, RING_DEGREE = 8, 10
QUICK, FULL = 1_000_000, 16_000_000
LINE = Line(one_way_s=0.050, bytes_per_s=100e6 / 8)
N_ROUNDS = 3
LOOPBACK, LINES = "loopback", "100 Mbit/s and 50 ms each way"
SETUP_FILE, RESULTS_FILE = "setup.json", "results.json"
GOALS_S = {LOOPBACK: 8.0, LINES: 30.0}
MEMORY_GOAL_MB = {"coordinator's job": 600.0, "server": 1000.0, "a site's job": 600.0, "a site": 600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured.

    Args:
        over: Its name.
        size: Shared parameters.
        line: Each partner's; None for none.
    """

    over: str
    size: int
    line: Line | None


SETUPS = (
    Setup(over=LOOPBACK, size=FULL, line=None),
    Setup(over=LINES, size=FULL, line=LINE),
)


class FixedOfTen(Fixed):
    """A partner of ten whose update is always the same vector."""

    def __init__(self, folder: Path) -> None:
        """Folder: its own, named as it is."""
        self._seed = PARTNERS.index(folder.name)
        self._values = np.empty(0, dtype=np.float32)
        terms = SecureTerms(
            partner=folder.name,
            identity=identity_of(folder.name),
            members=MEMBERS,
            n_colluders=N_COLLUDERS,
            ring_degree=RING_DEGREE,
            tier=Tier.COMMIT_THEN_MASK,
        )
        self._protection = Masked(terms, folder)


class ScaleExecutor(PartyExecutor):
    """A site of the benchmark."""

    def open_party(self, folder: Path) -> FrameHandler:
        """The partner whose folder it is."""
        folder.mkdir(parents=True, exist_ok=True)
        return FixedOfTen(folder)


class ScaleController(CoordinatorController):
    """Does rounds of one size and writes down what they took."""

    def limits(self, folder: Path) -> Limits:  # noqa: ARG002 - the same in each
        """Twenty processes may take their time to begin on a busy machine."""
        return Limits(hello_timeout_s=300.0)

    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        """The size from one file, results to another."""
        length = read_setup(folder)["size"]
        sums = SecureSums(engine, MEMBERS, n_colluders=N_COLLUDERS, ring_degree=RING_DEGREE)
        sums.start()
        parameters = np.random.default_rng(99).standard_normal(length)
        results: dict[str, list[float]] = {"seconds": [], "down": [], "up": []}
        for index in range(N_ROUNDS + 1):  # the first finds the scales
            started = time.perf_counter()
            found = sums.collect(request(index, parameters))
            seconds = time.perf_counter() - started
            if found.total_weight != WEIGHT * len(PARTNERS) or found.n_clipped:
                raise RuntimeError(f"a wrong sum: weight {found.total_weight}, {found.n_clipped} clipped")
            if index:
                results["seconds"].append(seconds)
                results["down"].append(found.traffic.bytes_to_partners / len(PARTNERS))
                results["up"].append(found.traffic.bytes_from_partners / len(PARTNERS))
            del found
        (folder / RESULTS_FILE).write_text(json.dumps(results), encoding="utf-8")


def read_setup(folder: Path) -> dict[str, int]:
    """What the coordinator's process is told."""
    return {name: int(value) for name, value in json.loads((folder / SETUP_FILE).read_text(encoding="utf-8")).items()}


class Lined(LocalFederation):
    """A local federation whose sites may reach the server through relays, and which waits longer for them."""

    def __init__(self, plot: Plot, line: Line | None, stack: ExitStack) -> None:
        super().__init__(plot)
        self._line, self._stack = line, stack
        self.relays: dict[str, Relay] = {}

    def _start(self, name: str, kit: Path) -> "Popen[bytes]":
        if name != SERVER and self._line is not None:
            self._redirect(name, kit / "startup" / "fed_client.json", self._line)
        return super()._start(name, kit)

    def _redirect(self, name: str, path: Path, line: Line) -> None:
        """Have a site's kit name its relay's port."""
        text = path.read_text(encoding="utf-8")
        port = server_port(json.loads(text))
        self.relays[name] = self._stack.enter_context(Relay(("127.0.0.1", port), line=line))
        path.write_text(text.replace(str(port), str(self.relays[name].port)), encoding="utf-8")

    def _await_sites(self) -> None:
        for _ in range(4):
            with suppress(UnreachableError):
                return super()._await_sites()
        return super()._await_sites()


def server_port(config: Mapping[str, object]) -> int:
    """The port that a site's kit names."""
    return int(json.dumps(config).split('"localhost:', 1)[1].split('"', 1)[0].split(":", 1)[0])


class Peaks:
    """Peak resident memory of a federation's processes, looked at until it ends."""

    def __init__(self, federation: LocalFederation) -> None:
        self._federation = federation
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._peaks: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> "Peaks":
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            for process in self._federation.processes():
                with suppress(psutil.NoSuchProcess, OSError, IndexError):
                    kind = kind_of(process.cmdline())
                    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                    kilobytes = float(status.split("VmHWM:", 1)[1].split()[0])
                    self._peaks[process.pid] = (kind, kilobytes * 1024 / 1e6)

    def most(self) -> dict[str, float]:
        """MB of the largest process of each kind."""
        found: dict[str, float] = {}
        for kind, megabytes in self._peaks.values():
            found[kind] = max(found.get(kind, 0.0), megabytes)
        return found


def kind_of(words: Sequence[str]) -> str:
    """What a process of a federation is, from its command."""
    text = " ".join(words)
    if "runner_process" in text:
        return "coordinator's job"
    if "worker_process" in text:
        return "a site's job"
    return "server" if "fed_server.json" in text else "a site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What rounds of one size over one kind of line took.

    Args:
        size: Shared parameters.
        over: The line.
        seconds: Of each round.
        down_mb: Frames to one partner in a round.
        up_mb: Frames from one partner in a round.
        wire_mb: Down and up, of one partner's line, the whole job over its rounds; 0 where it is not measured.
        peaks_mb: Of the largest process of each kind.
    """

    size: int
    over: str
    seconds: tuple[float, ...]
    down_mb: float
    up_mb: float
    wire_mb: tuple[float, float]
    peaks_mb: Mapping[str, float]


def measure(setup: Setup, folder: Path) -> Taken:
    """A federation's rounds."""
    classes = ("consortium_scale.ScaleController", "consortium_scale.ScaleExecutor")
    paths = [str(Path(__file__).resolve().parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    plot = Plot(
        folder=folder / "federation",
        coordinator=folder / "coordinator",
        sites={name: folder / "sites" / name for name in PARTNERS},
        classes=classes,
        environment={"PYTHONPATH": os.pathsep.join(paths)},
    )
    plot.coordinator.mkdir(parents=True)
    told = {"size": setup.size}
    (plot.coordinator / SETUP_FILE).write_text(json.dumps(told), encoding="utf-8")
    with ExitStack() as stack:
        federation = Lined(plot, setup.line, stack)
        stack.enter_context(federation)
        job = Job(
            run="benchmark", partners=PARTNERS, controller=classes[0], executor=classes[1], n_needed=len(PARTNERS)
        )
        with Peaks(federation) as peaks:
            federation.wait(federation.submit(job), timeout_s=900.0)
        lines = list(federation.relays.values())
        wire = (
            max((relay.bytes_down for relay in lines), default=0) / 1e6 / (N_ROUNDS + 1),
            max((relay.bytes_up for relay in lines), default=0) / 1e6 / (N_ROUNDS + 1),
        )
    results = json.loads((plot.coordinator / RESULTS_FILE).read_text(encoding="utf-8"))
    return Taken(
        size=setup.size,
        over=setup.over,
        seconds=tuple(results["seconds"]),
        down_mb=statistics.median(results["down"]) / 1e6,
        up_mb=statistics.median(results["up"]) / 1e6,
        wire_mb=wire,
        peaks_mb=peaks.most(),
    )


def figures_of(taken: Taken) -> list[Figure]:
    """A figure for the seconds, and one for each kind of process."""
    what = f"{len(PARTNERS)} partners, {taken.size:,} parameters, {taken.over}"
    figures = [at_most(f"{what}: median s a round", statistics.median(taken.seconds), GOALS_S[taken.over])]
    for kind, megabytes in sorted(taken.peaks_mb.items()):
        figures.append(at_most(f"{what}: peak resident MB of {kind}", megabytes, MEMORY_GOAL_MB[kind]))
    return figures


def table(all_taken: Sequence[Taken]) -> str:
    """Markdown."""
    heads = ("Parameters", "Line", "Seconds a round", "To a partner", "From a partner", "Peak memory, MB")
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for one in all_taken:
        low, high = min(one.seconds), max(one.seconds)
        seconds = f"{statistics.median(one.seconds):.2f} ({low:.2f} to {high:.2f})"
        peaks = ", ".join(f"{kind} {megabytes:.0f}" for kind, megabytes in sorted(one.peaks_mb.items()))
        cells = (f"{one.size:,}", one.over, seconds, f"{one.down_mb:.1f} MB", f"{one.up_mb:.1f} MB", peaks)
        lines.append(f"| {' | '.join(cells)} |")
        if any(one.wire_mb):
            print(f"on the wire of one partner, a round: {one.wire_mb[0]:.1f} MB down, {one.wire_mb[1]:.1f} MB up")
    return "\n".join(lines)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 million parameters, over the lines alone")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/consortium-scale.json and .md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    all_taken = []
    for setup in [replace(SETUPS[1], size=QUICK)] if arguments.quick else SETUPS:
        with tempfile.TemporaryDirectory() as folder:
            all_taken.append(measure(setup, Path(folder)))
        print(all_taken[-1], file=sys.stderr, flush=True)
    said = f"{table(all_taken)}\n\nLoad average before: {load:.1f} of {os.cpu_count()} cores."
    print(said)
    if arguments.save:
        heading = "# Ten partners: rounds over loopback and over slow lines"
        (RESULTS / "consortium-scale.md").write_text(f"{heading}\n\n{said}\n", encoding="utf-8")
    figures = [figure for taken in all_taken for figure in figures_of(taken)]
    publish("consortium-scale", figures, save=arguments.save)


if __name__ == "__main__":
    main()
