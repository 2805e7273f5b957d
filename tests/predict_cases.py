"""A partner at home with its bundle and what the platform predicted for its data, and the bundle's predictor."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bundle_cases import contents, few_references, partner_at
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.run.bundle import write_bundle
from pharmonia.run.bundle_export import TrainedPartner
from pharmonia.run.predict import Predictor
from prepare_cases import KEY


@cache
def partner_with_bundle(home: Path) -> TrainedPartner:
    """The partner of HOME; beside its data lie acme.zip and predictions.npy, written once for all modules."""
    found = partner_at(home)
    write_bundle(home / "acme.zip", contents(found))
    everything = np.arange(len(found.prepared.labels))
    places = task_places(found.prepared, found.settings)
    network = trained_network(found.settings, places.sizes, found.shared, found.private)
    np.save(home / "predictions.npy", predict_labels(network, found.prepared, places, everything))
    return found


@contextmanager
def predictor_at(home: Path) -> Iterator[Predictor]:
    """The predictor of the bundle in HOME, which finds there the structures that were prepared."""
    with pytest.MonkeyPatch.context() as patch:
        few_references(patch)
        with Predictor.open(home / "acme.zip", KEY, cache=home / "structures.sqlite") as opened:
            yield opened
