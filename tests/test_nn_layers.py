"""The parts of the attention, convolution and pooling layers, each against a plain statement."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interaction_cases import SMILES
from pharmonia.chem.graphs import build_graphs
from pharmonia.chem.proteins import TokenMatrix
from pharmonia.nn.attention import GatLayer, Neighbourhoods
from pharmonia.nn.bags import bag_max
from pharmonia.nn.compounds import expand_atoms
from pharmonia.nn.deepdta import _ConvolutionMax
from pharmonia.nn.dropout import dropout
from pharmonia.nn.gat import BLOCK_ROWS, _dropped_features, _DroppedElu
from pharmonia.nn.sequences import GROUP_POSITIONS, SequenceIndex

nonempty_bags = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), min_size=1, max_size=8)


def flat(bags: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    members = np.array([row for bag in bags for row in bag], dtype=np.int64)
    return members, np.concatenate(([0], np.cumsum([len(bag) for bag in bags]))).astype(np.int64)


def table(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def assert_same_gradients(got: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    upstream = torch.randn(got.shape, dtype=got.dtype, generator=torch.Generator().manual_seed(9))
    pairs = zip(
        torch.autograd.grad((got * upstream).sum(), inputs),
        torch.autograd.grad((expected * upstream).sum(), inputs),
        strict=True,
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@given(bags=nonempty_bags)
@settings(max_examples=40)
def test_bag_maxima_and_their_gradient_equal_loops(bags: list[list[int]]) -> None:
    rows = table(7, 3)
    members, offsets = flat(bags)
    got = bag_max(rows, torch.from_numpy(members), torch.from_numpy(offsets))
    assert_same_gradients(got, torch.stack([rows[sorted(set(bag))].max(dim=0).values for bag in bags]), rows)


def plain_attention(layer: GatLayer, rows: Tensor, bags: list[list[int]], n_heads: int) -> Tensor:
    """Velickovic et al. 2018, equations 3 to 5, centre by centre and head by head."""
    out = []
    for bag in bags:
        heads = []
        for head in range(n_heads):
            mapped = rows.view(rows.shape[0], n_heads, -1)[:, head]
            logits = [
                F.leaky_relu(mapped[row] @ layer.att_src[0, head] + mapped[bag[0]] @ layer.att_dst[0, head], 0.2)
                for row in bag
            ]
            share = torch.softmax(torch.stack(logits), dim=0)
            heads.append((share[:, None] * mapped[bag]).sum(dim=0))
        out.append(torch.cat(heads))
    return torch.stack(out)


@pytest.mark.parametrize("n_heads", [1, 3])
@given(bags=nonempty_bags)
@settings(max_examples=25)
def test_attention_over_shared_rows_equals_loops(n_heads: int, bags: list[list[int]]) -> None:
    torch.manual_seed(0)
    layer = GatLayer(2, 4, n_heads).double()
    rows = table(7, 4 * n_heads)
    hood = Neighbourhoods.build(*flat(bags), n_rows=7)
    got = layer.eval()(rows, hood, 0.2)
    assert_same_gradients(got, plain_attention(layer, rows, bags, n_heads), rows, layer.att_src, layer.att_dst)


def test_attention_stays_finite_at_logits_that_overflow() -> None:
    layer = GatLayer(2, 4, 1)
    hood = Neighbourhoods.build(*flat([[0, 1], [1, 2, 2]]), n_rows=3)
    assert torch.isfinite(layer(1e4 * torch.randn(3, 4), hood, 0.0)).all()


@pytest.mark.parametrize("n_rows", [1, BLOCK_ROWS, 2 * BLOCK_ROWS + 3])
def test_blocks_of_elu_and_dropout_equal_the_two_in_turn(n_rows: int) -> None:
    rows, bias = table(n_rows, 5), table(5, seed=1)
    torch.manual_seed(2)
    got = _DroppedElu.apply(rows, bias)  # type: ignore[no-untyped-call]
    torch.manual_seed(2)
    assert_same_gradients(got, dropout(F.elu(rows + bias), 0.2, training=True), rows, bias)


def test_dropped_features_are_those_of_every_atom() -> None:
    atoms = expand_atoms(build_graphs(SMILES), np.arange(len(SMILES)).repeat(40))
    torch.manual_seed(3)
    distinct, row_of_atom = _dropped_features(atoms, torch.float32)
    torch.manual_seed(3)
    plain = dropout(atoms.features[atoms.types], 0.2, training=True)
    assert torch.equal(distinct[row_of_atom], plain)
    n_kinds = torch.unique(torch.cat((plain, atoms.types[:, None]), dim=1), dim=0).shape[0]
    assert distinct.shape[0] == n_kinds <= 32 * torch.unique(atoms.types).numel()


def test_expanded_atoms_are_those_of_a_taken_graph() -> None:
    graphs = build_graphs(SMILES)
    compound = np.array([3, 3, 0, 11, 3])
    atoms, taken = expand_atoms(graphs, compound), graphs.take(compound)
    np.testing.assert_array_equal(atoms.types, taken.atom_type)
    np.testing.assert_array_equal(atoms.atom_offsets, taken.atom_offsets)
    for atom in range(taken.n_atoms):
        start, stop = taken.neighbour_offsets[atom : atom + 2]
        own = atoms.members[atoms.offsets[atom] : atoms.offsets[atom + 1]]
        np.testing.assert_array_equal(own, [atom, *taken.neighbours[start:stop]])


def test_a_convolutions_maximum_and_its_gradient_equal_the_plain_ones() -> None:
    rows = table(3, 5, 1, 20)
    weight = table(4, 5, 6, seed=1)
    got = _ConvolutionMax.apply(rows, weight)  # type: ignore[no-untyped-call]
    assert_same_gradients(got, F.conv1d(rows.squeeze(2), weight).amax(dim=2), rows, weight)


def sequences(lengths: list[int], n_positions: int) -> TokenMatrix:
    tokens = np.random.default_rng(4).integers(1, 26, size=(len(lengths), n_positions))
    return np.where(np.arange(n_positions) < np.array(lengths)[:, None], tokens, 0).astype(np.uint8)


@given(lengths=st.lists(st.integers(1, 1000), min_size=1, max_size=30), field=st.integers(1, 30))
@settings(max_examples=40)
def test_groups_hold_every_sequence_once_and_every_distinct_window(lengths: list[int], field: int) -> None:
    tokens = sequences(lengths, 1000)
    seen: list[int] = []
    batch = SequenceIndex(tokens).batch(np.arange(len(lengths)))
    for rows, cut in batch.groups(field):
        seen += rows.tolist()
        assert cut.numel() <= max(GROUP_POSITIONS, 1000)
        np.testing.assert_array_equal(cut, tokens[rows.numpy()][:, : cut.shape[1]])
        for row in rows.tolist():
            assert cut.shape[1] == 1000 or cut.shape[1] >= lengths[row] + field
    assert sorted(seen) == list(range(len(lengths)))
