"""What every network of the family promises besides being its plain form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from interaction_cases import SMILES, small_encoded
from pharmonia.base.errors import CompoundError, OptionError
from pharmonia.chem.graphs import build_graphs
from pharmonia.nn.choices import NORMED_MODELS, Model, Norm
from pharmonia.nn.compounds import CompoundIndex
from pharmonia.nn.interaction import EntityIndex, InteractionBatch, InteractionModel
from pharmonia.nn.models import build_model
from pharmonia.nn.norms import WeightedBatchNorm
from pharmonia.nn.parameters import Layout

N_PARAMS = {  # counted by hand from the layers' sizes, running statistics included
    Model.TARGET_ONLY: 26 * 128 + 32 * 8001 + 128 * (32 * 121 + 1) + 1024 * 129 + 256 * 1025 + 257,
    Model.DEEPDTA: 66 * 128 + 32 * (128 * 4 + 1) + 64 * (32 * 6 + 1) + 96 * (64 * 8 + 1)
    + 26 * 128 + 32 * (128 * 4 + 1) + 64 * (32 * 8 + 1) + 96 * (64 * 12 + 1)
    + 1024 * 193 + 1024 * 1025 + 512 * 1025 + 513,
    Model.GCN: 78 * 79 + 156 * 79 + 312 * 157 + 1024 * 313 + 128 * 1025
    + 26 * 128 + 32 * 8001 + 128 * (32 * 121 + 1) + 1024 * 257 + 512 * 1025 + 513,
    Model.GAT: 780 * (78 + 1 + 2) + 128 * (780 + 1 + 2) + 128 * 129
    + 26 * 128 + 32 * 8001 + 128 * (32 * 121 + 1) + 1024 * 257 + 256 * 1025 + 257,
    Model.GAT_GCN: 780 * (78 + 1 + 2) + 780 * 781 + 1500 * 1561 + 128 * 1501
    + 26 * 128 + 32 * 8001 + 128 * (32 * 121 + 1) + 1024 * 257 + 512 * 1025 + 513,
}  # fmt: skip


def small_batch(n_rows: int = 24) -> InteractionBatch:
    encoded = small_encoded()
    pairs = encoded.interactions.pairs.take(np.arange(n_rows))
    entities = EntityIndex(encoded.graphs, encoded.tokens, encoded.smiles_tokens)
    return entities.batch(pairs.compound, pairs.target)


@pytest.mark.parametrize("model", list(N_PARAMS))
def test_networks_have_the_published_number_of_parameters(model: Model) -> None:
    assert Layout.of(build_model(model, Norm.BATCH)).n_params == N_PARAMS[model]


@pytest.mark.parametrize("model", list(Model))
def test_head_names_are_the_tensors_after_the_branches(model: Model) -> None:
    network = build_model(model, Norm.BATCH)
    layers = ("fc1", "fc2", "fc3", "out") if model is Model.DEEPDTA else ("fc1", "fc2", "out")
    assert network.head_names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert network.head_names < set(network.state_dict())
    assert network.out.weight.shape[0] == 1


@pytest.mark.parametrize("model", list(Model))
def test_norm_names_are_the_tensors_of_the_normalisations(model: Model) -> None:
    network = build_model(model, Norm.BATCH)
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    norms = [f"compound_branch.bn{layer}.{kind}" for layer in range(1, 6) for kind in kinds]
    assert network.norm_names == (set(norms) if model in NORMED_MODELS else set())
    assert sum(isinstance(module, WeightedBatchNorm) for module in network.modules()) == len(network.norm_names) / 5


@pytest.mark.parametrize("norm", list(Norm))
def test_the_output_bias_moves_every_prediction_as_much(norm: Norm) -> None:
    network, batch = build_model(Model.GIN, norm).eval(), small_batch()
    with torch.no_grad():
        before = network(batch)
        network.out.bias.add_(3)
        torch.testing.assert_close(network(batch), before + 3)


def predictions(network: InteractionModel, compound: list[int], target: list[int]) -> torch.Tensor:
    encoded = small_encoded()
    entities = EntityIndex(encoded.graphs, encoded.tokens, encoded.smiles_tokens)
    with torch.no_grad():
        predicted: torch.Tensor = network.eval()(entities.batch(np.array(compound), np.array(target)))
    return predicted


def test_one_sided_networks_see_one_side() -> None:
    ligand = predictions(build_model(Model.LIGAND_ONLY, Norm.BATCH), [0, 0, 1], [0, 5, 0])
    assert ligand[0] == ligand[1] != ligand[2]
    target = predictions(build_model(Model.TARGET_ONLY, Norm.BATCH), [0, 5, 0], [0, 0, 1])
    assert target[0] == target[1] != target[2]


@pytest.mark.parametrize("model", list(Model))
def test_rows_of_one_pair_have_dropout_of_their_own_and_evaluation_has_none(model: Model) -> None:
    encoded = small_encoded()
    entities = EntityIndex(encoded.graphs, encoded.tokens, encoded.smiles_tokens)
    batch = entities.batch(np.array([3] * 16 + [4, 5]), np.array([2] * 16 + [0, 1]))
    network = build_model(model, Norm.BATCH)
    torch.manual_seed(0)
    with torch.no_grad():
        assert network.train()(batch)[:16].unique().numel() > 8
        assert network.eval()(batch)[:16].unique().numel() == 1


@pytest.mark.parametrize("model", list(Model))
def test_networks_learn_from_a_small_batch(model: Model) -> None:
    torch.manual_seed(1)
    network, batch = build_model(model, Norm.BATCH), small_batch()
    value = torch.from_numpy(small_encoded().interactions.pairs.value[:24].copy())
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    errors = []
    for _ in range(12):
        error = torch.nn.functional.mse_loss(network.train()(batch), value)
        optimiser.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 2


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (Model.GIN, {"targets"}),
        (Model.GAT, {"atoms", "targets"}),
        (Model.DEEPDTA, {"smiles", "residues"}),
        (Model.LIGAND_ONLY, set()),
        (Model.TARGET_ONLY, {"targets"}),
    ],
)
def test_only_what_a_network_reads_is_prepared(model: Model, parts: set[str]) -> None:
    batch = small_batch()
    build_model(model, Norm.BATCH).train()(batch)
    kept = vars(batch)
    assert parts == kept.keys() & {"atoms", "smiles", "residues", "targets"}
    assert bool(batch._by_layers) == (model in NORMED_MODELS)


def test_a_network_over_smiles_without_their_tokens_is_told_so() -> None:
    encoded = small_encoded()
    batch = EntityIndex(encoded.graphs, encoded.tokens).batch(np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(OptionError, match="SMILES tokens"):
        build_model(Model.DEEPDTA, Norm.BATCH)(batch)
    assert build_model(Model.GIN, Norm.BATCH).eval()(batch).shape == (2,)


def test_atoms_of_one_type_with_other_numbers_of_neighbours_are_refused() -> None:
    graphs = build_graphs(SMILES)
    with pytest.raises(CompoundError, match="differ in their number of neighbours"):
        CompoundIndex(replace(graphs, atom_type=np.zeros_like(graphs.atom_type)), 1)


def test_weights_start_as_the_published_networks_start() -> None:
    torch.manual_seed(0)
    state = build_model(Model.DEEPDTA, Norm.BATCH).state_dict()
    for name, tensor in state.items():
        if "embedding" in name:
            assert 0.049 < float(tensor.abs().max()) <= 0.05
        elif name.endswith("bias"):
            assert not tensor.any()
        elif name != "out.weight":
            fan = (tensor.shape[0] + tensor.shape[1]) * math.prod(tensor.shape[2:])
            assert 0.98 < float(tensor.abs().max()) / math.sqrt(6 / fan) <= 1
    gat = build_model(Model.GAT, Norm.BATCH).state_dict()
    assert not gat["compound_branch.gcn1.bias"].any()
    assert 0.9 < float(gat["compound_branch.gcn1.att_src"].abs().max()) / math.sqrt(6 / (10 + 78)) <= 1
