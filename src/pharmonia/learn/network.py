"""The network of a run: how it is made, which part of it is shared, and what it predicts."""

import numpy as np
import torch

from pharmonia.base.arrays import Vector
from pharmonia.data.interactions import EncodedInteractions, Pairs
from pharmonia.data.partner import PartnerDataset
from pharmonia.learn.contributions import TOTAL_NAMES
from pharmonia.learn.learner import Tensors
from pharmonia.learn.settings import Algorithm, LocalSettings, Method, Private
from pharmonia.nn.interaction import EntityIndex, InteractionBatch, InteractionModel
from pharmonia.nn.models import build_model
from pharmonia.nn.parameters import Layout, load_vector, to_vector

STATISTICS: Tensors = (("mean_value",), (1,))  # what is summed before round 0


def make_network(local: LocalSettings, seed: int) -> InteractionModel:
    """The network at PyTorch's initialisation under a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(local.model, local.norm)


def private_names(network: InteractionModel, private: Private) -> frozenset[str]:
    """Names of the tensors that stay at the partner."""
    match private:
        case Private.NOTHING:
            return frozenset()
        case Private.NORMS:
            return network.norm_names
        case Private.HEAD:
            return network.head_names


def shared_layout(network: InteractionModel, method: Method) -> Layout:
    """The tensors that the partners share."""
    private = private_names(network, method.private)
    return Layout.of(network, lambda name: name not in private)


def private_layout(network: InteractionModel, method: Method) -> Layout:
    """The tensors that each partner keeps to itself."""
    private = private_names(network, method.private)
    return Layout.of(network, lambda name: name in private)


def sum_tensors(layout: Layout, method: Method) -> Tensors:
    """Names and lengths of all that a training step sums: changes, SCAFFOLD's control variates, totals."""
    names, lengths = layout.names, layout.lengths
    if method.algorithm is Algorithm.SCAFFOLD:
        names, lengths = (*names, *(f"control.{name}" for name in names)), (*lengths, *lengths)
    return (*names, *TOTAL_NAMES), (*lengths, *(1 for _ in TOTAL_NAMES))


def initial_parameters(network: InteractionModel, layout: Layout, method: Method, mean_value: float) -> Vector:
    """The shared vector before round 0; the network's output bias becomes the mean value.

    Without the bias the network spends its first epochs learning the mean (KIBA, 14 epochs: MSE 0.375 against
    0.265).

    Returns:
        (n_shared,) float64; with SCAFFOLD followed by as many zeros, its control variate.
    """
    with torch.no_grad():
        network.out.bias.fill_(mean_value)
    parameters = to_vector(network, layout)
    if method.algorithm is Algorithm.SCAFFOLD:
        return np.concatenate([parameters, np.zeros(layout.n_params)])
    return parameters


def predict(
    local: LocalSettings,
    method: Method,
    parameters: Vector,
    private_part: Vector,
    encoded: EncodedInteractions | PartnerDataset,
    pairs: Pairs,
) -> Vector:
    """What a trained model predicts, each unique compound and target encoded once.

    Args:
        local: Of the run.
        method: Of the run.
        parameters: The shared vector, or with SCAFFOLD its first half and the rest unread.
        private_part: A partner's private tensors; empty where everything is shared.
        encoded: The compounds and targets that the rows name.
        pairs: Rows to predict.

    Returns:
        (n_rows,) float64.
    """
    network = make_network(local, seed=0)
    layout = shared_layout(network, method)
    load_vector(network, layout, parameters[: layout.n_params])
    load_vector(network, private_layout(network, method), private_part)
    entities = EntityIndex(encoded.graphs, encoded.tokens, encoded.smiles_tokens)
    return score(network, entities.batch(pairs.compound, pairs.target))


@torch.no_grad()
def score(network: InteractionModel, batch: InteractionBatch) -> Vector:
    """(n_rows,) float64 predictions of a batch in evaluation mode."""
    return network.eval().score(batch).numpy().astype(np.float64)


def use_one_thread() -> None:
    """One thread per process: processes side by side beat threads here."""
    torch.set_num_threads(1)
