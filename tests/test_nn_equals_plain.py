"""The fast network is the plain PyTorch Geometric formulation, to rounding: outputs, gradients, statistics."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from pharmonia.base.errors import UpdateError
from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.chem.proteins import TokenMatrix, tokenise
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.nn.choices import Norm
from pharmonia.nn.dropout import dropout
from pharmonia.nn.interaction import DROPOUT, EntityIndex, GinInteraction
from pharmonia.nn.parameters import Layout, load_vector, to_vector
from plain_graphdta import PlainGin, expand, graph_list

TOLERANCE = {
    (Norm.LAYER, torch.float64): 1e-12,
    (Norm.BATCH, torch.float64): 1e-10,
    (Norm.LAYER, torch.float32): 2e-5,
}


@dataclass(frozen=True)
class Case:
    """Pairs over a few entities, some pairs twice and most compounds several times."""

    graphs: MolGraphs
    tokens: TokenMatrix
    compound: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def real_case(kiba_sample: EncodedInteractions) -> Case:
    pairs = kiba_sample.interactions.pairs
    rows = np.random.default_rng(5).choice(len(pairs), 90, replace=False)
    rows = np.concatenate((rows, rows[:20]))
    return Case(
        kiba_sample.graphs, kiba_sample.tokens, pairs.compound[rows].astype(np.int64),
        pairs.target[rows].astype(np.int64), pairs.value[rows].astype(np.float64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def odd_case() -> Case:
    """Lone atoms, salts, a bridged ring, and sequences of 1, 999, 1,000 and 1,500 residues."""
    graphs = build_graphs(["C", "[Na+].[Cl-]", "C1CC2CCC1C2", "Oc1ccccc1", "[2H]O[Si](C)(C)C"])
    tokens = tokenise(["M", "ACDX" * 249 + "WYB", "KLMN" * 250, "PQRS" * 375])
    rng = np.random.default_rng(6)
    return Case(graphs, tokens, rng.integers(5, size=40), rng.integers(4, size=40), rng.normal(size=40))


def train_pass(model: torch.nn.Module, predicted: Tensor, value: Tensor) -> Tensor:
    torch.nn.functional.mse_loss(predicted, value).backward()  # type: ignore[no-untyped-call]
    return predicted.detach()


def plain_twin(fast: GinInteraction, norm: Norm, dtype: torch.dtype) -> PlainGin:
    plain = PlainGin(norm, dropout=lambda rows: dropout(rows, DROPOUT, training=True)).to(dtype)
    missing = plain.load_state_dict({n: t.to(dtype) for n, t in fast.plain_state().items()}, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith(".eps") for name in missing.missing_keys)
    return plain


def off(got: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    return float((got.double() - expected.double()).abs().max() / expected.double().abs().max())


@dataclass(frozen=True)
class Pass:
    """What one training pass with dropout gives."""

    predicted: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[str, Tensor]

    def off(self, expected: "Pass") -> float:
        """How far predictions, gradients and running statistics are off at worst."""
        assert self.gradients.keys() == expected.gradients.keys()
        errors = [off(self.predicted, expected.predicted)]
        errors += [off(gradient, expected.gradients[name]) for name, gradient in self.gradients.items()]
        errors += [off(self.statistics[name], running) for name, running in expected.statistics.items()]
        return max(errors)


def fast_pass(case: Case, norm: Norm, dtype: torch.dtype) -> Pass:
    torch.manual_seed(7)
    model = GinInteraction(norm).to(dtype)
    torch.manual_seed(8)
    batch = EntityIndex(case.graphs, case.tokens).batch(case.compound, case.target)
    predicted = train_pass(model, model(batch), torch.from_numpy(case.value).to(dtype))
    return taken(model, predicted, model.plain_state())


def plain_pass(case: Case, norm: Norm, dtype: torch.dtype) -> Pass:
    torch.manual_seed(7)
    model = plain_twin(GinInteraction(norm), norm, dtype)
    torch.manual_seed(8)
    used, compound = np.unique(case.compound, return_inverse=True)
    graphs, tokens = expand(graph_list(case.graphs.take(used), dtype), case.tokens, compound, case.target)
    predicted = train_pass(model, model(graphs, tokens), torch.from_numpy(case.value).to(dtype))
    return taken(model, predicted, model.state_dict())


def taken(model: torch.nn.Module, predicted: Tensor, state: dict[str, Tensor]) -> Pass:
    gradients = {name.split("branch.")[-1]: p.grad for name, p in model.named_parameters()}
    running = {name: tensor for name, tensor in state.items() if "running" in name}
    return Pass(predicted, {name: grad for name, grad in gradients.items() if grad is not None}, running)


@pytest.mark.parametrize("case_name", ["real_case", "odd_case"])
@pytest.mark.parametrize(("norm", "dtype"), list(TOLERANCE))
def test_training_pass_equals_the_plain_one(
    case_name: str, norm: Norm, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    case = request.getfixturevalue(case_name)
    got, expected = fast_pass(case, norm, dtype), plain_pass(case, norm, dtype)
    assert len(got.gradients) == sum(1 for _ in GinInteraction(norm).parameters())
    assert len(got.statistics) == (10 if norm is Norm.BATCH else 0)
    assert got.off(expected) < TOLERANCE[norm, dtype]


def test_float32_batch_norm_is_closer_to_float64_than_the_plain_form_is(real_case: Case) -> None:
    """In float32, BatchNorm's cancellation leaves the plain form off by 1e-2 and more in some gradients."""
    exact = plain_pass(real_case, Norm.BATCH, torch.float64)
    fast = fast_pass(real_case, Norm.BATCH, torch.float32)
    plain = plain_pass(real_case, Norm.BATCH, torch.float32)
    assert fast.off(exact) < plain.off(exact)
    assert off(fast.predicted, exact.predicted) < 2e-5


@pytest.mark.parametrize("norm", list(Norm))
def test_evaluation_equals_the_plain_one_and_scoring_in_chunks(norm: Norm, real_case: Case) -> None:
    torch.manual_seed(9)
    fast = GinInteraction(norm).double().eval()
    plain = plain_twin(fast, norm, torch.float64).eval()
    plain._dropout = lambda rows: rows
    batch = EntityIndex(real_case.graphs, real_case.tokens).batch(real_case.compound, real_case.target)
    used, compound = np.unique(real_case.compound, return_inverse=True)
    data = graph_list(real_case.graphs.take(used), torch.float64)
    graphs, tokens = expand(data, real_case.tokens, compound, real_case.target)
    with torch.no_grad():
        expected = plain(graphs, tokens)
        assert off(fast(batch), expected) < 1e-12
        assert off(fast.score(batch, chunk_rows=7), expected) < 1e-12


def test_weights_of_the_plain_form_load(real_case: Case) -> None:
    plain = PlainGin("batch")
    fast = GinInteraction(Norm.BATCH)
    fast.load_plain_state(plain.state_dict())
    for name, tensor in fast.plain_state().items():
        assert torch.equal(tensor, plain.state_dict()[name])


def test_a_plain_state_with_another_eps_or_shape_is_refused() -> None:
    state = PlainGin("batch").state_dict()
    fast = GinInteraction(Norm.BATCH)
    with pytest.raises(UpdateError, match="eps"):
        fast.load_plain_state({**state, "conv1.eps": torch.ones(1)})
    with pytest.raises(UpdateError, match="does not fit"):
        fast.load_plain_state({**state, "out.bias": torch.zeros(2)})
    with pytest.raises(UpdateError, match="does not fit"):
        fast.load_plain_state({name: tensor for name, tensor in state.items() if name != "out.bias"})


@pytest.mark.parametrize("norm", list(Norm))
def test_parameters_survive_the_vector(norm: Norm) -> None:
    first, second = GinInteraction(norm), GinInteraction(norm)
    layout = Layout.of(first)
    load_vector(second, layout, to_vector(first, layout))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert layout.n_params == to_vector(first, layout).size


def test_a_vector_of_another_length_is_refused() -> None:
    model = GinInteraction(Norm.LAYER)
    layout = Layout.of(model)
    with pytest.raises(UpdateError, match=f"expected {layout.n_params}"):
        load_vector(model, layout, np.zeros(layout.n_params - 1))
