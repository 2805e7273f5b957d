"""Flower's SecAgg+ client, timed; run by `secagg_flwr.py` with a Python that has flwr, and without this package.

Usage: python flwr_masking.py LENGTH N_PARTNERS

Prints the version of flwr once it is ready. For every line on stdin it masks the update once more and prints the
processor seconds that this took and the bytes that came out. Last, at the end of stdin, it prints the largest error of
the mean that a server would get from all clients, in steps of the quantiser.
"""

import sys
import time
from importlib.metadata import version

import numpy as np
from flwr.app import ConfigRecord  # type: ignore[import-not-found]
from flwr.client.mod.secure_aggregation.secaggplus_mod import (  # type: ignore[import-not-found]
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
)
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters  # type: ignore[import-not-found]
from flwr.common.secure_aggregation.secaggplus_constants import Key  # type: ignore[import-not-found]
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen  # type: ignore[import-not-found]

CLIPPING, TARGET, MODULUS, MAX_WEIGHT, WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0, 7  # flwr's own defaults; a weight


class Clients:
    """All clients of one round, after the stages that exchange keys and shares."""

    def __init__(self, n: int) -> None:
        """Neighbours are all."""
        self.states = {i: SecAggPlusState(nid=i) for i in range(1, n + 1)}
        terms = {
            Key.SAMPLE_NUMBER: n,
            Key.SHARE_NUMBER: n,
            Key.THRESHOLD: n // 2 + 1,
            Key.CLIPPING_RANGE: CLIPPING,
            Key.TARGET_RANGE: TARGET,
            Key.MOD_RANGE: MODULUS,
            Key.MAX_WEIGHT: MAX_WEIGHT,
        }
        public = {}
        for i, state in self.states.items():
            sent = _setup(state, ConfigRecord(terms))
            public[str(i)] = [sent[Key.PUBLIC_KEY_1], sent[Key.PUBLIC_KEY_2]]
        self.boxes: dict[int, list[tuple[int, bytes]]] = {i: [] for i in self.states}
        for i, state in self.states.items():
            sent = _share_keys(state, ConfigRecord(public))
            for to, box in zip(sent[Key.DESTINATION_LIST], sent[Key.CIPHERTEXT_LIST], strict=True):
                self.boxes[to].append((i, box))

    def mask(self, client: int, parameters: object) -> list[bytes]:
        """Stage 2 at one client: open boxes, quantise, mask, serialise."""
        sources, boxes = zip(*self.boxes[client], strict=True)
        configs = {Key.SOURCE_LIST: list(sources), Key.CIPHERTEXT_LIST: list(boxes)}
        out = _collect_masked_vectors(self.states[client], ConfigRecord(configs), WEIGHT, parameters)
        masked: list[bytes] = out[Key.MASKED_PARAMETERS]
        return masked


def error_of_sum(clients: Clients, parameters: object, x: np.ndarray) -> float:
    """Largest deviation of the unmasked mean of all clients, in steps of the quantiser."""
    total, weights = np.zeros(x.size, dtype=np.int64), 0
    for client, state in clients.states.items():
        factor, words = (bytes_to_ndarray(part) for part in clients.mask(client, parameters))
        own = pseudo_rand_gen(state.rd_seed, MODULUS, [factor.shape, words.shape])
        total += words - own[1]
        weights += int((factor - own[0])[0])
    n, step = len(clients.states), 2 * CLIPPING / TARGET
    mean = ((total % MODULUS) * step - n * CLIPPING) / (weights % MODULUS) * TARGET
    ratio = round(WEIGHT / MAX_WEIGHT * TARGET) / TARGET
    return float(np.abs(mean - x).max() * ratio / step)


def main() -> None:
    """Answer line by line."""
    length, n_partners = int(sys.argv[1]), int(sys.argv[2])
    clients = Clients(n_partners)
    x = np.random.default_rng(0).normal(size=length).astype(np.float32)
    parameters = ndarrays_to_parameters([x])
    print(version("flwr"), flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        masked = clients.mask(4, parameters)
        print(time.process_time() - start, sum(map(len, masked)), flush=True)
    print(error_of_sum(clients, parameters, x), flush=True)


if __name__ == "__main__":
    main()
