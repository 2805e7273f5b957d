"""A partner in a network namespace of its own: its link is taken down in mid-round and up again, and the end is exact.

Usage: python benchmarks/fault_namespace.py [--save]

Needs Linux, root, `ip` and `tc`; without them it says so and ends with exit code 2. The link is a pair of virtual
Ethernet devices held to 100 Mbit/s by `tc tbf`, and the cut is `ip link set down`: packets are lost, nobody is told.
The last line is JSON.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from faulty_trial import COORDINATOR, faulty_trial, undisturbed
from figures import Figure, at_least, at_most, publish

N_PARTNERS, ROUNDS, FAR = 2, 6, "partner-02"
SPACE, NEAR_END, FAR_END = "pharmonia-far", "phfar0", "phfar1"
NEAR, INNER, MASK = "10.213.77.1", "10.213.77.2", 24
CUT_S = 40.0


def ip(*words: str) -> None:
    """One command of `ip`."""
    subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True)


def in_space(*words: str) -> None:
    """One command in the namespace."""
    ip("netns", "exec", SPACE, *words)


@contextmanager
def namespace() -> Iterator[None]:
    """A network namespace with one link to this one, 100 Mbit/s each way."""
    shape = ("root", "tbf", "rate", "100mbit", "burst", "256kb", "latency", "400ms")
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", NEAR_END, "type", "veth", "peer", "name", FAR_END)
        ip("link", "set", FAR_END, "netns", SPACE)
        ip("addr", "add", f"{NEAR}/{MASK}", "dev", NEAR_END)
        ip("link", "set", NEAR_END, "up")
        in_space("ip", "addr", "add", f"{INNER}/{MASK}", "dev", FAR_END)
        for device in ("lo", FAR_END):
            in_space("ip", "link", "set", device, "up")
        subprocess.run([shutil.which("tc") or "tc", "qdisc", "add", "dev", NEAR_END, *shape], check=True)
        in_space("tc", "qdisc", "add", "dev", FAR_END, *shape)
        yield
    finally:
        ip("netns", "del", SPACE)  # and with it the link


def measure(folder: Path) -> list[Figure]:
    """One run with its cut."""
    prefixes = {FAR: (shutil.which("ip") or "ip", "netns", "exec", SPACE)}
    with namespace(), faulty_trial(folder, n_partners=N_PARTNERS, rounds=ROUNDS, host=NEAR, prefixes=prefixes) as made:
        made.launch_all()
        made.await_rounds(1)
        made.await_mid_round()
        ip("link", "set", NEAR_END, "down")
        n_rounds = made.n_rounds()
        time.sleep(CUT_S)
        n_during = made.n_rounds() - n_rounds
        ip("link", "set", NEAR_END, "up")
        started = time.monotonic()
        made.await_rounds(1)
        back_s = time.monotonic() - started
        made.await_finish()
        made.end()
        print(f"failures on the ledger: {[code.value for code in made.failures()]}, sessions: {made.n_sessions()}")
        left = len(made.processes_left())
        model, attempts = made.model(), made.state_of(COORDINATOR).n_attempts
        is_one = made.copies_are_one()
        made.verify(FAR)
    plain = folder / "plain"
    plain.mkdir()
    same = undisturbed(plain, N_PARTNERS, ROUNDS)
    is_same = np.array_equal(model.parameters, same.parameters)
    return [
        at_most(f"rounds that ended while the link was down for {CUT_S:g} s", n_during, 1),
        at_most("next round finished after the link was up: s", back_s, 90.0),
        at_least("model as without the cut: 1 is yes", float(is_same), 1),
        at_least("all copies of the ledger the same and verified: 1 is yes", float(is_one), 1),
        at_most("times the run was submitted", attempts, 2),
        at_most("processes left", left, 0),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/fault-namespace.json")
    arguments = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        print("needs Linux, root, ip and tc; run `sudo python benchmarks/fault_namespace.py`", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    publish("fault-namespace", figures, save=arguments.save)


if __name__ == "__main__":
    main()
