"""Secure aggregation against the least that it could cost: one AES-128-CTR pass per peer and one memcpy.

Usage: python benchmarks/secagg.py [--quick] [--mirror DIR] [--save]

Ratios are of processor time; the bound and our work are measured in turns in the same run, and the least of each is
taken. Sparse rounds use fingerprints of the compounds of KIBA and Biogen ADME where --mirror or PHARMONIA_MIRROR names
their raw files, else those of kiba-sample, which are few and make the ratio flatter. The last line is JSON.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from figures import Figure, at_least, at_most, publish
from pharmonia.run.datasets import fetch, load, load_assays
from pharmonia.secagg.fixedpoint import Values, decode_sum
from pharmonia.secagg.header import Layout, Tier
from pharmonia.secagg.keys import IdentityKey, SessionKey, make_offer
from pharmonia.secagg.masks import MaskSum
from pharmonia.secagg.messages import MaskedUpdate, encode, encode_parts
from pharmonia.secagg.partner import PartnerSession, open_session
from pharmonia.secagg.roster import Directory, Member, Roster
from pharmonia.secagg.server import RoundPlan, ServerRound, open_round
from pharmonia.secagg.sparse import MIN_COUNT, RowUpdate, common_rows, row_update
from pharmonia.secagg.streams import add_streams, aligned_words
from pharmonia.secagg.unmasking import unmasking_streams

MODEL = bytes(32)
CHUNK_BYTES = 1 << 18
N_BITS, N_HIDDEN, BATCH = 32_000, 2_000, 64


def in_turns(n_times: int, *works: Callable[[], object]) -> list[float]:
    """Least processor seconds of each, measured in turns so that a busy machine is busy for all."""
    least = [float("inf")] * len(works)
    for _ in range(n_times):
        for number, work in enumerate(works):
            start = time.process_time()
            work()
            least[number] = min(least[number], time.process_time() - start)
    return least


def aes_pass(n_bytes: int) -> None:
    """One keystream as fast as OpenSSL makes it, into one buffer."""
    cipher = Cipher(algorithms.AES(bytes(16)), modes.CTR(bytes(16))).encryptor()
    buffers = aligned_words(2 * CHUNK_BYTES, np.dtype(np.uint8))
    buffers[:] = 0
    zeros, scratch = buffers[:CHUNK_BYTES].data, buffers[CHUNK_BYTES:].data
    for _ in range(n_bytes // CHUNK_BYTES):
        cipher.update_into(zeros, scratch)
    cipher.update_into(zeros[: n_bytes % CHUNK_BYTES], scratch)


def aes_passes(n_bytes: int, n_passes: int) -> None:
    """Several of them."""
    for _ in range(n_passes):
        aes_pass(n_bytes)


class Group:
    """Partners that all live here."""

    def __init__(self, n: int, *, n_colluders: int, ring_degree: int) -> None:
        """Keys are exchanged and sessions opened."""
        ids = [f"partner-{i:02d}" for i in range(n)]
        identities = {name: IdentityKey.generate() for name in ids}
        keys = {name: SessionKey.generate() for name in ids}
        members = tuple(Member(id=name, identity=identities[name].public) for name in ids)
        roster = Roster(session=os.urandom(32), members=members, n_colluders=n_colluders, ring_degree=ring_degree)
        offers = tuple(make_offer(roster, name, identities[name], keys[name]) for name in ids)
        self.directory = Directory(roster=roster, offers=offers)
        self.sessions = {
            name: open_session(partner=name, identity=identities[name], key=keys[name], directory=self.directory)
            for name in ids
        }

    def begin(self, layout: Layout, tier: Tier) -> tuple[dict[str, PartnerSession], ServerRound]:
        """READY from all."""
        plan = RoundPlan(round_index=0, tier=tier, layout=layout, model_digest=MODEL, exponents=(16,), weight_bits=10)
        said = {name: session.commit(0, layout, MODEL) for name, session in self.sessions.items()}
        opened = open_round(self.directory, plan, [ready for _, ready in said.values()])
        return {name: session for name, (session, _) in said.items()}, opened


def vector(length: int) -> Values:
    """An update."""
    return np.random.default_rng(0).normal(size=length).astype(np.float32)


def measure_client(length: int, goal: float, n_times: int) -> list[Figure]:
    """A partner among ten: the whole masked update, and what is left of it when masks were summed before."""
    layout = Layout(names=("w",), lengths=(length,))
    sessions, server = Group(10, n_colluders=2, ring_degree=6).begin(layout, Tier.COMMIT_THEN_MASK)
    session = sessions["partner-04"]
    x, copy = vector(length), np.zeros(length, dtype=np.float32)
    prepared: list[MaskSum] = []
    done: list[MaskedUpdate] = []

    def prepare() -> None:
        prepared.append(session.prepare_mask(server.header))

    def online() -> None:
        done[:] = [session.masked_update(prepared.pop(), x, 7).message]

    aes, memcpy, offline_s, online_s, frame_s = in_turns(
        n_times,
        lambda: aes_pass(4 * length),
        lambda: np.copyto(copy, x),
        prepare,
        online,
        lambda: encode_parts(done[0]),
    )
    bound = 9 * aes + memcpy
    size = f"{length // 1_000_000}M parameters, 10 partners"
    print(
        f"{size}: bound {1e3 * bound:.1f} ms (9 x {1e3 * aes:.2f} + {1e3 * memcpy:.2f}), "
        f"mask sum {1e3 * offline_s:.1f}, encode and add {1e3 * online_s:.1f}, frame {1e3 * frame_s:.2f}"
    )
    return [
        at_most(f"masked update, {size}: CPU / bound", (offline_s + online_s) / bound, goal),
        at_most(f"online part with mask sum ready, {size}: CPU / bound", online_s / bound, 0.35),
    ]


def measure_server(length: int, n_times: int) -> list[Figure]:
    """Sum and decode of ten partners over one memcpy of each masked vector and one of the decoded one."""
    layout = Layout(names=("w",), lengths=(length,))
    _, opened = Group(10, n_colluders=2, ring_degree=6).begin(layout, Tier.COMMIT_THEN_MASK)
    header = opened.header
    words = np.zeros(header.n_words, dtype=header.dtype)
    words[-2] = 10
    total = np.zeros_like(words)
    decoded, source = np.zeros(length), np.zeros(length)

    def move() -> None:
        for _ in range(10):
            np.copyto(total, words)
        np.copyto(decoded, source)

    def add_and_decode() -> None:
        server = opened_again(opened)
        for name in header.contributors:
            server = server.add(
                MaskedUpdate(partner=name, round_digest=header.digest, words=words, seed_digest=b"", boxes=())
            )
        decode_sum(server.total.words, layout, header, header.contributors)

    moved, summed = in_turns(n_times, move, add_and_decode)
    name = f"server sum and decode, {length // 1_000_000}M parameters, 10 partners: CPU / memcpy of the same bytes"
    return [at_most(name, summed / moved, 2.0)]


def opened_again(opened: ServerRound) -> ServerRound:
    """The round as it was opened, with a total of its own."""
    return ServerRound(
        directory=opened.directory,
        layout=opened.layout,
        header=opened.header,
        total=type(opened.total)(opened.header),
        arrived={},
    )


def measure_tier_b(length: int, n_times: int) -> list[Figure]:
    """Fifty partners on a ring of degree 12, five lost: bytes that one sends, and unmasking over its AES passes."""
    layout = Layout(names=("w",), lengths=(length,))
    group = Group(50, n_colluders=5, ring_degree=12)
    sessions, server = group.begin(layout, Tier.DROPOUT_TOLERANT)
    x = vector(length)
    n_bytes = len(encode(group.sessions["partner-20"].commit(0, layout, MODEL)[1])) - 4 * length
    for name in server.header.contributors[5:]:
        mask = sessions[name].prepare_mask(server.header)
        out = sessions[name].masked_update(mask, x, 1)
        sessions[name], server = out.session, server.add(out.message)
        n_bytes += len(encode(out.message)) if name == "partner-20" else 0
    server, proposal = server.propose()
    for name in proposal.survivors:
        sessions[name], signature = sessions[name].sign_survivors(proposal)
        server = server.add_signature(signature)
        n_bytes += len(encode(signature)) if name == "partner-20" else 0
    server, confirmed = server.confirm()
    for name, message in confirmed.items():
        _, reveal = sessions[name].reveal(message)
        server = server.add_reveal(reveal)
        n_bytes += len(encode(reveal)) if name == "partner-20" else 0
    down = sum(len(encode(message)) for message in (server.header, proposal, confirmed["partner-20"]))
    seeds = {name: server.arrived[name].seed_digest for name in proposal.survivors}
    threshold = group.directory.roster.share_threshold(50)
    reveals = tuple(server.reveals.values())
    n_passes = len(unmasking_streams(server.header, seeds, reveals, threshold))
    words = server.total.words

    def unmask() -> None:
        add_streams(words, unmasking_streams(server.header, seeds, reveals, threshold))

    unmasked, passes = in_turns(n_times, unmask, lambda: aes_passes(4 * length, n_passes))
    print(f"tier B, 50 partners, 5 lost: {n_passes} streams; a partner sends {n_bytes} bytes more, receives {down}")
    return [
        at_most("tier B, 50 partners, 5 lost: bytes from a partner beyond 4 a parameter", n_bytes, 5120),
        at_most("unmasking 5 lost of 50, 4M parameters: CPU / AES passes needed", unmasked / passes, 1.2),
    ]


def measure_bytes() -> list[Figure]:
    """Tier A, ten partners: what a partner sends beyond its parameters."""
    layout = Layout(names=("w",), lengths=(1000,))
    group = Group(10, n_colluders=2, ring_degree=6)
    sessions, server = group.begin(layout, Tier.COMMIT_THEN_MASK)
    session = sessions["partner-04"]
    out = session.masked_update(session.prepare_mask(server.header), vector(1000), 1)
    ready = group.sessions["partner-04"].commit(0, layout, MODEL)[1]
    n_bytes = len(encode(ready)) + len(encode(out.message)) - 4000
    return [at_most("tier A, 10 partners: bytes from a partner beyond 4 a parameter", n_bytes, 2048)]


def compounds(mirror: str | None) -> list[str]:
    """Distinct compounds of KIBA and Biogen ADME from the raw files, or those of the embedded sample."""
    if mirror is None:
        return sorted(set(load("kiba-sample").interactions.smiles))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PHARMONIA_CACHE"] = cache
        for name in ("kiba", "biogen-adme"):
            fetch(name, mirror=Path(mirror))
        return sorted({*load("kiba").interactions.smiles, *load_assays("biogen-adme").smiles})


def measure_sparse(n_steps: int, mirror: str | None) -> list[Figure]:
    """Ten partners' minibatches of real compounds: bytes of dense sums over bytes of counts and common rows."""
    smiles = compounds(mirror)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=N_BITS)
    bits = [np.array(generator.GetFingerprint(Chem.MolFromSmiles(text)).GetOnBits()) for text in smiles]
    rng = np.random.default_rng(0)
    shares = np.array_split(rng.permutation(len(bits)), 10)
    carried = [row_update(np.zeros((N_BITS, 1), dtype=np.float32)) for _ in shares]
    n_rows = []
    for _ in range(n_steps):
        steps = [_step(bits, rng.choice(share, BATCH)).plus(rest) for share, rest in zip(shares, carried, strict=True)]
        counts = np.sum([step.touched for step in steps], axis=0).astype(np.uint16)
        common = common_rows(counts, MIN_COUNT)
        carried = [step.release(common)[1] for step in steps]
        n_rows.append(common.size)
    sparse = 2 * N_BITS + 4 * N_HIDDEN * float(np.mean(n_rows[n_steps // 2 :]))
    name = f"sparse rounds, batch {BATCH}, 10 partners, {len(smiles):,} real compounds: dense bytes / sparse bytes"
    return [at_least(name, 4 * N_BITS * N_HIDDEN / sparse, 5.0)]


def _step(bits: Sequence[np.ndarray], batch: np.ndarray) -> RowUpdate:
    rows = np.unique(np.concatenate([bits[i] for i in batch])).astype(np.int64)
    return RowUpdate(n_rows=N_BITS, rows=rows, values=np.ones((rows.size, 1), dtype=np.float32))


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--save", action="store_true", help="write results/secagg.json")
    parser.add_argument("--mirror", help="directory with the raw files of KIBA and Biogen ADME")
    options = parser.parse_args()
    n_times = 5 if options.quick else 15
    figures = [
        *measure_client(1_000_000, 1.6, 6 * n_times),
        *measure_client(16_000_000, 1.5, n_times),
        *measure_server(16_000_000, n_times),
        *measure_bytes(),
        *measure_tier_b(4_000_000, n_times),
        *measure_sparse(20 if options.quick else 60, options.mirror or os.environ.get("PHARMONIA_MIRROR")),
    ]
    publish("secagg", figures, save=options.save)


if __name__ == "__main__":
    main()
