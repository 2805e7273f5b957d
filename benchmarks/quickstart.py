"""`make quickstart` after installation: seconds on the clock, and peak memory of all its processes together.

Usage: python benchmarks/quickstart.py [--quick] [--save]

Linux only: memory is the sum over the process tree of proportional set sizes, sampled twice a second.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import at_most, publish

SAMPLE_S = 0.5
COMMAND = ["compare", "kiba-sample", "--partners", "4", "--partition", "target", "--workers", "2"]


def main() -> None:
    """Run it as a user would, in an empty directory, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 rounds instead of all; the goals stay")
    parser.add_argument("--save", action="store_true", help="write results/quickstart.json")
    options = parser.parse_args()
    rounds = ["--rounds", "8"] if options.quick else []
    code = "from pharmonia.cli.main import main; main()"
    with tempfile.TemporaryDirectory() as out:
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", code, *COMMAND, *rounds, "--out", out])
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, sum(map(memory_mb, tree(process.pid))))
            time.sleep(SAMPLE_S)
        wall_s = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"the comparison ended with exit code {process.returncode}")
    figures = [at_most("quickstart, s", wall_s, 180), at_most("quickstart, peak memory MB", peak_mb, 1_500)]
    publish("quickstart", figures, save=options.save)


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [pid, *(below for child in text.split() for below in tree(int(child)))]


def memory_mb(pid: int) -> float:
    """Proportional set size: shared pages are split between those who share them."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
