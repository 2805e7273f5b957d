"""Every network is its plain formulation, to rounding: outputs, gradients, statistics."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pharmonia.base.errors import OptionError, UpdateError
from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.chem.proteins import TokenMatrix, tokenise
from pharmonia.chem.smiles import tokenise_smiles
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.nn.choices import NORMED_MODELS, Model, Norm
from pharmonia.nn.dropout import dropout
from pharmonia.nn.interaction import EntityIndex, GinInteraction, InteractionModel
from pharmonia.nn.models import build_model
from pharmonia.nn.parameters import Layout, load_vector, to_vector
from plain_graphdta import PlainGin
from plain_models import PlainEntities, plain_model

CHOICES = [(model, norm) for model in Model for norm in Norm if norm is Norm.BATCH or model in NORMED_MODELS]
EXACT = {Norm.LAYER: 1e-12, Norm.BATCH: 1e-10}  # in float64
ROUNDED = [(model, norm) for model, norm in CHOICES if not (norm is Norm.BATCH and model in NORMED_MODELS)]


@pytest.fixture(autouse=True)
def shared_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain formulations draw the masks of our dropout, in the order in which PyTorch Geometric asks for them."""

    def ours(rows: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return dropout(rows, p, training=training) if p else rows

    monkeypatch.setattr(F, "dropout", ours)


@dataclass(frozen=True)
class Case:
    """Pairs over a few entities, some pairs twice and most compounds several times."""

    graphs: MolGraphs
    tokens: TokenMatrix
    smiles_tokens: TokenMatrix
    compound: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def real_case(kiba_sample: EncodedInteractions) -> Case:
    pairs = kiba_sample.interactions.pairs
    rows = np.random.default_rng(5).choice(len(pairs), 12, replace=False)
    rows = np.concatenate((rows, rows[:4]))
    return Case(
        kiba_sample.graphs, kiba_sample.tokens, kiba_sample.smiles_tokens, pairs.compound[rows].astype(np.int64),
        pairs.target[rows].astype(np.int64), pairs.value[rows].astype(np.float64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def odd_case() -> Case:
    """Lone atoms, salts, a bridged ring, a hundred characters and more; sequences of 1, 999, 1,000, 1,500 residues."""
    smiles = ["C", "[Na+].[Cl-]", "C1CC2CCC1C2", "Oc1ccccc1", "[2H]O[Si](C)(C)C", "C" * 99, "OC" * 60, "c1cc[pH]c1"]
    tokens = tokenise(["M", "ACDX" * 249 + "WYB", "KLMN" * 250, "PQRS" * 375])
    rng = np.random.default_rng(6)
    n_compounds, n_targets = len(smiles), len(tokens)
    return Case(
        build_graphs(smiles), tokens, tokenise_smiles(smiles), rng.integers(n_compounds, size=16),
        rng.integers(n_targets, size=16), rng.normal(size=16),
    )  # fmt: skip


def off(got: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    return float((got.double() - expected.double()).abs().max() / expected.double().abs().max())


@dataclass(frozen=True)
class Pass:
    """What one training pass with dropout gives, and the predictions of the network as it stands after it."""

    predicted: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[str, Tensor]
    evaluated: Tensor

    def off(self, expected: "Pass") -> float:
        """How far predictions, gradients and running statistics are off at worst."""
        assert self.gradients.keys() == expected.gradients.keys()
        errors = [off(self.predicted, expected.predicted), off(self.evaluated, expected.evaluated)]
        errors += [off(gradient, expected.gradients[name]) for name, gradient in self.gradients.items()]
        errors += [off(self.statistics[name], running) for name, running in expected.statistics.items()]
        return max(errors)


def fast_pass(case: Case, model: Model, norm: Norm, dtype: torch.dtype) -> Pass:
    torch.manual_seed(7)
    network = build_model(model, norm).to(dtype)
    entities = EntityIndex(case.graphs, case.tokens, case.smiles_tokens)
    predicted = trained(network, case, dtype, entities.batch(case.compound, case.target))
    return taken(network, predicted, network.plain_state(), network.eval()(entities.batch(case.compound, case.target)))


def plain_pass(case: Case, model: Model, norm: Norm, dtype: torch.dtype) -> Pass:
    torch.manual_seed(7)
    network = plain_twin(build_model(model, norm), model, norm, dtype)
    used, compound = np.unique(case.compound, return_inverse=True)
    entities = PlainEntities(model, case.graphs.take(used), case.tokens, case.smiles_tokens[used], dtype)
    inputs = entities.batch(compound, case.target)
    predicted = trained(network, case, dtype, *inputs)
    return taken(network, predicted, network.state_dict(), network.eval()(*inputs))


def trained(network: torch.nn.Module, case: Case, dtype: torch.dtype, *inputs: object) -> Tensor:
    torch.manual_seed(8)
    predicted: Tensor = network(*inputs)
    F.mse_loss(predicted, torch.from_numpy(case.value).to(dtype)).backward()  # type: ignore[no-untyped-call]
    return predicted.detach()


def plain_twin(fast: InteractionModel, model: Model, norm: Norm, dtype: torch.dtype) -> torch.nn.Module:
    plain = plain_model(model, norm).to(dtype)
    missing = plain.load_state_dict({n: t.to(dtype) for n, t in fast.plain_state().items()}, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith(".eps") for name in missing.missing_keys)
    return plain


def taken(network: torch.nn.Module, predicted: Tensor, state: dict[str, Tensor], evaluated: Tensor) -> Pass:
    gradients = {name.split("branch.")[-1]: p.grad for name, p in network.named_parameters()}
    running = {name: tensor for name, tensor in state.items() if "running" in name}
    kept = {name: grad for name, grad in gradients.items() if grad is not None}
    return Pass(predicted, kept, running, evaluated.detach())


@pytest.mark.parametrize("case_name", ["real_case", "odd_case"])
@pytest.mark.parametrize(("model", "norm"), CHOICES)
def test_training_and_evaluation_equal_the_plain_ones(
    case_name: str, model: Model, norm: Norm, request: pytest.FixtureRequest
) -> None:
    case = request.getfixturevalue(case_name)
    got, expected = (one(case, model, norm, torch.float64) for one in (fast_pass, plain_pass))
    assert len(got.gradients) == sum(1 for _ in build_model(model, norm).parameters())
    assert len(got.statistics) == (10 if norm is Norm.BATCH and model in NORMED_MODELS else 0)
    assert got.off(expected) < EXACT[norm]


@pytest.mark.parametrize(("model", "norm"), ROUNDED)
def test_in_float32_the_difference_is_rounding(model: Model, norm: Norm, real_case: Case) -> None:
    got, expected = (one(real_case, model, norm, torch.float32) for one in (fast_pass, plain_pass))
    assert got.off(expected) < (2e-4 if model is Model.DEEPDTA else 2e-5)  # its maxima hang on last bits


def test_float32_batch_norm_is_closer_to_float64_than_the_plain_form_is(real_case: Case) -> None:
    """In float32, BatchNorm's cancellation leaves the plain form off by 1e-2 and more in some gradients."""
    exact = plain_pass(real_case, Model.GIN, Norm.BATCH, torch.float64)
    fast = fast_pass(real_case, Model.GIN, Norm.BATCH, torch.float32)
    plain = plain_pass(real_case, Model.GIN, Norm.BATCH, torch.float32)
    assert fast.off(exact) < plain.off(exact)
    assert off(fast.predicted, exact.predicted) < 2e-5


@pytest.mark.parametrize("model", list(Model))
def test_scoring_in_chunks_is_scoring_at_once(model: Model, real_case: Case) -> None:
    network = build_model(model, Norm.BATCH).double().eval()
    entities = EntityIndex(real_case.graphs, real_case.tokens, real_case.smiles_tokens)
    batch = entities.batch(real_case.compound, real_case.target)
    with torch.no_grad():
        assert off(network.score(batch, chunk_rows=7), network(batch)) < 1e-12


def test_weights_of_the_plain_form_load() -> None:
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


@pytest.mark.parametrize(("model", "norm"), CHOICES)
def test_parameters_survive_the_vector(model: Model, norm: Norm) -> None:
    first, second = build_model(model, norm), build_model(model, norm)
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


@pytest.mark.parametrize("model", sorted(set(Model) - NORMED_MODELS))
def test_a_norm_is_refused_where_the_network_has_none(model: Model) -> None:
    with pytest.raises(OptionError, match=f"'{model.value}' has no normalisation"):
        build_model(model, Norm.LAYER)
    assert build_model(model, Norm.BATCH).norm_names == frozenset()
