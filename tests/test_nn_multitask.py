"""The multi-task network is its plain formulation: losses, gradients, steps, predictions."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import UpdateError
from pharmonia.nn.heads import LabelRows, PairBatch, TaskHead, sampled_linear
from pharmonia.nn.heads_names import HeadName, TaskKind
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork, Trunk
from pharmonia.nn.parameters import Layout
from pharmonia.nn.sparse import BitBatch, BitRows, SparseLinear
from pharmonia.nn.sparse_steps import BlockAdam, BlockSgd
from plain_multitask import PlainMultitask, coo, copy_weights, plain_trunk_of

N_BITS, N_ROWS = 300, 40
SIZES, HIDDEN = (24, 16), (8,)
TASKS = {
    HeadName.CLASSIFICATION: 5,
    HeadName.REGRESSION: 4,
    HeadName.CATALOGUE_CLASSIFICATION: 3,
    HeadName.CATALOGUE_REGRESSION: 2,
}


def make_bits(rng: np.random.Generator, n_rows: int = N_ROWS) -> BitRows:
    """Some bits in each row but the second."""
    table = rng.random((n_rows, N_BITS)) < 0.1
    table[1] = False
    return bits_of(table)


def bits_of(table: npt.NDArray[np.bool_]) -> BitRows:
    indptr = np.concatenate(([0], np.cumsum(table.sum(axis=1)))).astype(np.int64)
    return BitRows(indptr=indptr, indices=np.nonzero(table)[1].astype(np.int32), n_columns=table.shape[1])


def make_labels(rng: np.random.Generator, kind: TaskKind, n_tasks: int, n_rows: int = N_ROWS) -> LabelRows:
    """Labels of a third of the pairs, none in the first row; a task's values have their own centre and spread."""
    known = rng.random((n_rows, n_tasks)) < 0.35
    known[0] = False
    columns = np.nonzero(known)[1].astype(np.int32)
    if kind is TaskKind.CLASSIFICATION:
        value, censor = rng.integers(0, 2, columns.size).astype(np.float64), np.zeros(columns.size, dtype=np.int64)
    else:
        value, censor = rng.normal(5 + columns, 1 + columns), rng.integers(-1, 2, columns.size)
    return LabelRows(
        indptr=np.concatenate(([0], np.cumsum(known.sum(axis=1)))).astype(np.int64),
        column=columns,
        value=value.astype(np.float32),
        censor=censor.astype(np.int8),
        weight=rng.choice([0.0, 0.1, 1.0], columns.size).astype(np.float32),
        n_columns=n_tasks,
    )


def all_labels(rng: np.random.Generator) -> dict[HeadName, LabelRows]:
    return {name: make_labels(rng, name.kind, n) for name, n in TASKS.items()}


def make_network(
    dtype: torch.dtype = torch.float64, rate: float = 0.0, frozen: Trunk | None = None
) -> MultitaskNetwork:
    torch.manual_seed(3)
    trunk = Trunk(N_BITS, SIZES, rate)
    width = trunk.width + (frozen.width if frozen else 0)
    heads = {
        name: TaskHead(name.kind, width, () if name.is_catalogue else HIDDEN, n, rate) for name, n in TASKS.items()
    }
    for head in heads.values():
        if head.kind is TaskKind.REGRESSION:
            head.centre.copy_(5 + torch.arange(len(head.bias)))
            head.spread.copy_(1 + torch.arange(len(head.bias)))
    return MultitaskNetwork(trunk, heads, frozen).to(dtype)


def plain_twin(network: MultitaskNetwork, name: HeadName) -> PlainMultitask:
    hidden = () if name.is_catalogue else HIDDEN
    plain = PlainMultitask(N_BITS, SIZES, hidden, {name: TASKS[name]}).to(network.dtype)
    copy_weights(network, plain)
    return plain


def total_loss(network: MultitaskNetwork, batch: MultitaskBatch) -> torch.Tensor:
    losses = network.losses(batch)
    return sum(
        ((loss * batch.heads[name].weight).sum() for name, loss in losses.items()),
        torch.zeros((), dtype=network.dtype),
    )


@pytest.mark.parametrize("name", list(HeadName))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_losses_and_gradients_equal_the_plain_ones(name: HeadName, dtype: torch.dtype, tolerance: float) -> None:
    rng = np.random.default_rng(1)
    bits, labels = make_bits(rng), {name: make_labels(rng, name.kind, TASKS[name])}
    network = make_network(dtype)
    plain = plain_twin(network, name)
    loss = total_loss(network, MultitaskBatch.of(bits, labels, dtype))
    loss.backward()  # type: ignore[no-untyped-call]
    network.trunk.input.fill_gradient()
    expected = plain.loss(bits, labels)
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    ours = {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}
    theirs = [parameter.grad for parameter in plain.parameters()]
    assert len(ours) == len(theirs)
    for (key, gradient), other in zip(ours.items(), sorted_like(ours, plain), strict=True):
        assert off(gradient, other) < tolerance, key


def sorted_like(ours: dict[str, torch.Tensor], plain: PlainMultitask) -> list[torch.Tensor]:
    """The plain gradients in our order: trunk, then inner layers of the head, then its columns."""
    trunk = [p.grad for p in plain.trunk.parameters()]
    head = [p.grad for p in plain.heads.parameters()]
    order = [key for key in ours if not key.startswith("trunk.")]
    by_place = {True: head[-2:], False: head[:-2]}
    found = [by_place[".layers." not in key].pop(0) for key in order]
    return [gradient for gradient in (*trunk, *found) if gradient is not None]


def off(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).abs().max() / expected.double().abs().max())


def test_one_head_scores_only_its_labelled_pairs_and_each_as_the_dense_head_does() -> None:
    rng = np.random.default_rng(2)
    labels = make_labels(rng, TaskKind.CLASSIFICATION, 6)
    hidden, weight, bias = (torch.from_numpy(rng.normal(size=shape)) for shape in ((N_ROWS, 7), (6, 7), (6,)))
    rows = np.repeat(np.arange(N_ROWS), np.diff(labels.indptr))
    got = sampled_linear(hidden, weight, bias, PairBatch.of(labels))
    expected = (hidden @ weight.t() + bias)[torch.from_numpy(rows), torch.tensor(labels.column).long()]
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


def test_gradients_of_the_sampled_product_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(3)
    pairs = PairBatch.of(make_labels(rng, TaskKind.CLASSIFICATION, 4, 6))
    inputs = [torch.from_numpy(rng.normal(size=shape)).requires_grad_() for shape in ((6, 3), (4, 3), (4,))]
    assert torch.autograd.gradcheck(lambda h, w, b: sampled_linear(h, w, b, pairs), inputs)


def test_a_batch_without_labels_has_no_loss_and_no_gradient() -> None:
    rng = np.random.default_rng(4)
    bits, labels = make_bits(rng), make_labels(rng, TaskKind.REGRESSION, TASKS[HeadName.REGRESSION])
    network = make_network()
    first = np.array([0])
    batch = MultitaskBatch.of(bits.take(first), {HeadName.REGRESSION: labels.take(first)}, network.dtype)
    loss = total_loss(network, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    network.trunk.input.fill_gradient()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(("censor", "predicted", "expected"), [
    (0, 3.0, 1.0), (0, 7.0, 9.0),
    (1, 3.0, 1.0), (1, 7.0, 0.0),  # known to be above 4: 7 is no error, 3 is off by 1
    (-1, 3.0, 0.0), (-1, 7.0, 9.0),
])  # fmt: skip
def test_the_loss_of_a_censored_value_is_one_sided(censor: int, predicted: float, expected: float) -> None:
    """By hand: the measured value is 4, centre 0, spread 1."""
    head = TaskHead(TaskKind.REGRESSION, 1, (), 1, 0.0)
    labels = LabelRows(
        indptr=np.array([0, 1]), column=np.zeros(1, dtype=np.int32), value=np.array([4.0], dtype=np.float32),
        censor=np.array([censor], dtype=np.int8), weight=np.ones(1, dtype=np.float32), n_columns=1,
    )  # fmt: skip
    loss = head.losses(torch.tensor([predicted]), PairBatch.of(labels), torch.tensor([4.0]), torch.tensor([censor]))
    assert loss.tolist() == [expected]


def test_predictions_are_in_the_unit_of_the_assay_for_pairs_and_for_tables() -> None:
    rng = np.random.default_rng(5)
    bits, labels = make_bits(rng), all_labels(rng)
    network = make_network(torch.float32)
    pairs = network.predict_pairs(bits, labels)
    for name, part in labels.items():
        table = network.predict_table(bits, name)
        rows = np.repeat(np.arange(N_ROWS), np.diff(part.indptr))
        np.testing.assert_allclose(pairs[name], table[rows, part.column], rtol=1e-5, atol=1e-5)
        if name.kind is TaskKind.CLASSIFICATION:
            assert ((table > 0) & (table < 1)).all()
    head = network.head(HeadName.REGRESSION)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(2.0)
    np.testing.assert_allclose(network.predict_table(bits, HeadName.REGRESSION)[3], [7, 10, 13, 16])


def test_embeddings_are_the_trunks_output_and_a_compound_without_bits_has_one() -> None:
    bits = make_bits(np.random.default_rng(6))
    network = make_network()
    plain = plain_trunk_of(network.trunk)
    expected = plain(coo(bits, torch.float64)).detach().numpy()
    np.testing.assert_allclose(network.embed(bits), expected, rtol=1e-5, atol=1e-6)
    assert network.embed(bits.take(np.empty(0, dtype=np.int64))).shape == (0, SIZES[-1])


def test_predictions_do_not_depend_on_which_other_compounds_are_asked_for() -> None:
    bits = make_bits(np.random.default_rng(7))
    network = make_network(torch.float32)
    whole = network.predict_table(bits, HeadName.CLASSIFICATION)
    part = network.predict_table(bits.take(np.array([9, 4])), HeadName.CLASSIFICATION)
    np.testing.assert_allclose(part, whole[[9, 4]], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_block_adam_is_pytorchs_adam_on_the_whole_gradient(dtype: torch.dtype, tolerance: float) -> None:
    """Three steps over other compounds each, so that most bits rest while their moments go on moving them."""
    layer = SparseLinear(N_BITS, 4096).to(dtype)  # 128 rows a block
    plain = torch.nn.Parameter(layer.weight.detach().clone())
    ours, theirs = BlockAdam([layer], 1e-3), torch.optim.Adam([plain], lr=1e-3)
    rng = np.random.default_rng(8)
    for _ in range(3):
        bits = make_bits(rng, 5)
        grad = torch.from_numpy(rng.normal(size=(5, 4096))).to(dtype)
        layer(BitBatch.of(bits)).backward(grad)
        ours.step()
        plain.grad = coo(bits, dtype).t().to_dense() @ grad
        theirs.step()
        assert off(layer.weight.detach(), plain.detach()) < tolerance


def test_an_optimisers_state_goes_on_where_it_was_left() -> None:
    rng = np.random.default_rng(9)
    batches = [(BitBatch.of(make_bits(rng)), torch.from_numpy(rng.normal(size=(N_ROWS, 8)))) for _ in range(4)]
    layer = SparseLinear(N_BITS, 8).double()
    optimiser = BlockAdam([layer], 1e-2)

    def go(batch: BitBatch, grad: torch.Tensor) -> None:
        layer(batch).backward(grad)
        optimiser.step()

    for pair in batches[:2]:
        go(*pair)
    weight, state = layer.weight.detach().clone(), {name: t.clone() for name, t in optimiser.state().items()}
    for pair in batches[2:]:
        go(*pair)
    final = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.copy_(weight)
    optimiser = BlockAdam([layer], 1e-2)
    optimiser.load(state)
    for pair in batches[2:]:
        go(*pair)
    assert torch.equal(layer.weight, final)


def test_block_sgd_follows_the_gradient() -> None:
    bits = make_bits(np.random.default_rng(10))
    layer = SparseLinear(N_BITS, 8).double()
    before = layer.weight.detach().clone()
    layer(BitBatch.of(bits)).sum().backward()
    BlockSgd([layer], 0.5).step()
    counts = np.bincount(bits.indices, minlength=N_BITS)
    np.testing.assert_allclose((before - layer.weight.detach()).numpy(), np.tile(0.5 * counts[:, None], 8), atol=1e-12)


def test_a_gradient_is_given_once() -> None:
    layer = SparseLinear(N_BITS, 8)
    layer(BitBatch.of(make_bits(np.random.default_rng(11)))).sum().backward()
    layer.fill_gradient()
    with pytest.raises(UpdateError, match="backward pass first"):
        layer.fill_gradient()


def test_a_frozen_trunk_is_not_trained_and_drops_nothing() -> None:
    rng = np.random.default_rng(12)
    bits, labels = make_bits(rng), all_labels(rng)
    frozen = Trunk(N_BITS, (10,), 0.5)
    network = make_network(torch.float32, rate=0.5, frozen=frozen).train()
    alone = frozen(BitBatch.of(bits)).numpy()
    batch = MultitaskBatch.of(bits, labels, torch.float32)
    total_loss(network, batch).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in frozen.parameters())
    assert network.trunk.input.bias.grad is not None
    np.testing.assert_array_equal(network.embedding(batch.bits)[:, :10].detach().numpy(), alone)
    assert network.embed(bits).shape == (N_ROWS, 10 + SIZES[-1])


def test_what_is_shared_is_told_by_name() -> None:
    layout = Layout.of(make_network())
    shared = {name.split(".")[1] for name in layout.names if name.startswith(("trunk.", "heads.catalogue_"))}
    assert shared == {"input", "middle", "catalogue_classification", "catalogue_regression"}
    assert "heads.regression.centre" in layout.names


def test_dropout_leaves_evaluation_alone_and_changes_training() -> None:
    bits = BitBatch.of(make_bits(np.random.default_rng(13)))
    network = make_network(torch.float32, rate=0.5)
    first, second = network.train().embedding(bits), network.embedding(bits)
    assert not torch.equal(first, second)
    assert torch.equal(network.eval().embedding(bits), network.embedding(bits))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n_taken=st.integers(0, 12))
def test_taking_rows_is_taking_rows_of_the_table(seed: int, n_taken: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.random((6, N_BITS)) < 0.05
    rows = rng.integers(0, 6, n_taken)
    taken = bits_of(table).take(rows)
    assert (coo(taken, torch.float32).to_dense().numpy().astype(bool) == table[rows]).all()


@pytest.mark.parametrize(("indptr", "indices", "message"), [
    ([0, 2], [0], "row pointers"), ([1, 1], [0], "row pointers"), ([0, 2, 1, 2], [0, 1], "row pointers"),
    ([0, 1], [5], "outside the 5"), ([0, 1], [-1], "outside"), ([], [], "row pointers"),
])  # fmt: skip
def test_a_matrix_that_is_none_is_refused(indptr: list[int], indices: list[int], message: str) -> None:
    with pytest.raises(UpdateError, match=message):
        BitRows(indptr=np.array(indptr, dtype=np.int64), indices=np.array(indices, dtype=np.int32), n_columns=5)


@pytest.mark.parametrize(("name", "bad", "message"), [
    ("column", 4, "outside the head's 4"), ("value", np.nan, "finite"), ("weight", -1, "not negative"),
    ("weight", np.inf, "finite"),
])  # fmt: skip
def test_labels_that_no_loss_takes_are_refused(name: str, bad: float, message: str) -> None:
    column, censor = np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.int8)
    value, weight = np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32)
    {"column": column, "value": value, "weight": weight}[name][1] = bad
    with pytest.raises(UpdateError, match=message):
        LabelRows(indptr=np.array([0, 2]), column=column, value=value, censor=censor, weight=weight, n_columns=4)


def test_labels_of_one_length_only() -> None:
    with pytest.raises(UpdateError, match="expected 1 values"):
        LabelRows(
            indptr=np.array([0, 1]), column=np.zeros(1, dtype=np.int32), value=np.zeros(2, dtype=np.float32),
            censor=np.zeros(1, dtype=np.int8), weight=np.ones(1, dtype=np.float32), n_columns=1,
        )  # fmt: skip


def test_heads_and_trunks_that_are_none_are_refused() -> None:
    with pytest.raises(UpdateError, match="at least one layer"):
        Trunk(N_BITS, (), 0.0)
    network = MultitaskNetwork(Trunk(N_BITS, (4,), 0.0), {})
    with pytest.raises(UpdateError, match="no regression head"):
        network.head(HeadName.REGRESSION)


def test_a_heads_name_says_what_it_predicts_and_who_shares_it() -> None:
    for name in HeadName:
        assert HeadName.of(name.kind, is_catalogue=name.is_catalogue) is name
