"""A partner's secure sum against Flower's SecAgg+ client: processor time to mask the same vector.

Usage: python benchmarks/secagg_flwr.py --flwr-python PATH [--quick] [--save]

PATH is the Python of an environment of its own with `pip install flwr==1.41.*`; this package does not need Flower. Both
mask 1 and 16 million float32 among ten clients who all are neighbours, in turns, and the least of each is taken; both
end with the bytes to be sent. Flower's stage 2 adds nine masks of pairs and a self-mask, as our tier B does; tier A has
no self-mask. Keys are exchanged before the clock starts; Flower's stage 2 derives its pair secrets within it. What
Flower does around that stage in every round, two key pairs and a share for everybody among it, is not counted. The last
line is JSON.
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np

from figures import Figure, at_least, publish
from pharmonia.secagg.header import Layout, Tier
from pharmonia.secagg.messages import encode_parts
from secagg import Group, vector

N_PARTNERS, CLIENT = 10, "partner-04"
WORKER = Path(__file__).parent / "flwr_masking.py"


class Flower:
    """A client of Flower in a process of its own."""

    def __init__(self, python: str, length: int) -> None:
        """Started, and past the exchange of keys."""
        command = [python, str(WORKER), str(length), str(N_PARTNERS)]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise SystemExit(f"{python} cannot be started: {error}") from error
        self.version = self._line()

    def mask(self) -> tuple[float, int]:
        """Processor seconds of one masking, and the bytes to be sent."""
        if self._process.stdin is None:
            raise SystemExit("flwr_masking.py cannot be asked")
        self._process.stdin.write("mask\n")
        self._process.stdin.flush()
        seconds, n_bytes = self._line().split()
        return float(seconds), int(n_bytes)

    def finish(self) -> float:
        """The largest error of its mean, in steps of its quantiser, once the process has ended."""
        rest, _ = self._process.communicate()
        return float(rest)

    def _line(self) -> str:
        line = "" if self._process.stdout is None else self._process.stdout.readline().strip()
        if not line:
            raise SystemExit("flwr_masking.py gave no answer; does that Python have flwr 1.41? Its own error says more")
        return line


class Ours:
    """One of ten partners in a round of a tier, masked again and again."""

    def __init__(self, length: int, tier: Tier) -> None:
        """Keys are exchanged and everybody has said READY."""
        group = Group(N_PARTNERS, n_colluders=2, ring_degree=6)
        sessions, server = group.begin(Layout(names=("w",), lengths=(length,)), tier)
        self._session, self._header, self._x = sessions[CLIENT], server.header, vector(length)

    def mask(self) -> tuple[float, float, int]:
        """Processor seconds of all and of what is left when masks were summed before, and the bytes to be sent."""
        start = time.process_time()
        prepared = self._session.prepare_mask(self._header)
        middle = time.process_time()
        out = self._session.masked_update(prepared, self._x, 7)
        n_bytes = sum(map(len, encode_parts(out.message)))
        end = time.process_time()
        return end - start, end - middle, n_bytes


def measure(python: str, length: int, n_times: int) -> list[Figure]:
    """Flower and both tiers in turns."""
    flower = Flower(python, length)
    tiers = (Ours(length, Tier.COMMIT_THEN_MASK), Ours(length, Tier.DROPOUT_TOLERANT))
    theirs, ours = [], []
    for _ in range(n_times):
        theirs.append(flower.mask())
        ours.append([tier.mask() for tier in tiers])
    error = flower.finish()
    if error > 1:
        raise SystemExit(f"the masks of flwr did not cancel: its mean is off by {error:g} steps of its quantiser")
    flower_s, flower_bytes = min(theirs)
    (a_s, a_online_s, a_bytes), (b_s, b_online_s, b_bytes) = np.min(np.array(ours), axis=0).tolist()
    size = f"{length // 1_000_000}M parameters, {N_PARTNERS} partners"
    print(
        f"{size}: flwr {flower.version} {1e3 * flower_s:.1f} ms, {flower_bytes:,} bytes; tier A {1e3 * a_s:.2f} ms, "
        f"{1e3 * a_online_s:.2f} with the mask sum ready, {a_bytes:,.0f} bytes; tier B {1e3 * b_s:.2f} ms, "
        f"{1e3 * b_online_s:.2f} with the mask sum ready, {b_bytes:,.0f} bytes"
    )
    name = f"{size}: CPU of flwr {flower.version} SecAgg+ client"
    return [
        at_least(f"{name} / ours, tier A, masks made", flower_s / a_s, 10.0),
        at_least(f"{name} / ours, tier A, mask sum ready", flower_s / a_online_s, 10.0),
        at_least(f"{name} / ours, tier B, masks made", flower_s / b_s, 10.0),
        at_least(f"{size}: bytes that a client of flwr sends / ours, tier A", flower_bytes / a_bytes, 1.9),
    ]


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flwr-python", required=True, help="a Python that has flwr 1.41")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--save", action="store_true", help="write results/secagg_flwr.json")
    options = parser.parse_args()
    n_times = 3 if options.quick else 15
    figures = [
        *measure(options.flwr_python, 1_000_000, 10 * n_times),
        *measure(options.flwr_python, 16_000_000, n_times),
    ]
    publish("secagg_flwr", figures, save=options.save)


if __name__ == "__main__":
    main()
