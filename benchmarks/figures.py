"""What every benchmark prints last, and saves with command, commit and machine beside it."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number and what it should be."""

    name: str
    value: float
    goal: float
    better: str  # "higher" or "lower"
    met: bool


def at_most(name: str, value: float, goal: float) -> Figure:
    """A figure that should not be above its goal."""
    return Figure(name=name, value=_rounded(value), goal=goal, better="lower", met=value <= goal)


def at_least(name: str, value: float, goal: float) -> Figure:
    """A figure that should not be below its goal."""
    return Figure(name=name, value=_rounded(value), goal=goal, better="higher", met=value >= goal)


def cpu_s(work: Callable[[], object], n_times: int = 1) -> float:
    """CPU seconds of this process that one call takes, as the mean of n_times."""
    start = time.process_time()
    for _ in range(n_times):
        work()
    return (time.process_time() - start) / n_times


def publish(benchmark: str, figures: Sequence[Figure], *, save: bool) -> None:
    """Print a line per figure, then one line of JSON; save it with its provenance where asked."""
    for figure in figures:
        mark = "met" if figure.met else "NOT MET"
        print(f"{figure.name}: {figure.value:g} (goal {figure.goal:g}, {figure.better} is better): {mark}")
    line = {"benchmark": benchmark, "figures": [asdict(figure) for figure in figures]}
    if save:
        text = json.dumps({**line, **_provenance()}, indent=2)
        (RESULTS / f"{benchmark}.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(line))


def _provenance() -> dict[str, str]:
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True, cwd=RESULTS).stdout.strip()
    return {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{os.cpu_count()} shared CPU cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}",
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
