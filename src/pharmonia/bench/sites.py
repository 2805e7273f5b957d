"""A shared-out data set as the sites of a consortium: one folder a partner, as each has on its own machine."""

from collections.abc import Sequence
from pathlib import Path

from pharmonia.base.errors import OptionError
from pharmonia.bench.arms import share_out
from pharmonia.bench.planned import recipe_digest
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part
from pharmonia.run.files import write_whole
from pharmonia.run.site_config import COORDINATOR_FILE, SITE_FILE
from pharmonia.run.site_data import DataCard, write_interactions

DATA_FOLDER = "data"
_SITE = """\
partner = "{partner}"
key = "{partner}.key"
commitment = "{partner}.key.commitment"
agreement = "agreement.json"
plan = "plan.json"
policy = "policy.json"
ledger = "ledger"
state = "state"

[data]
kind = "interactions"
folder = "{data}"
"""
_COORDINATOR = """\
partner = "{partner}"
key = "{partner}.key"
agreement = "agreement.json"
plan = "plan.json"
ledger = "coordinator-ledger"
store_url = "sqlite:///store/runs.sqlite"
store_folder = "store"
checkpoint_every_s = {checkpoint_every_s}
"""


def share_to_sites(folder: Path, settings: ComparisonSettings, partners: Sequence[str]) -> dict[str, DataCard]:
    """What each partner's data are, once they lie in FOLDER/PARTNER with a `site.toml`; keys and papers are its own.

    Args:
        folder: Gets a folder for each partner, laid out as those of a simulated consortium (`run.mandate`).
        settings: Of the comparison, with one seed.
        partners: Ids, in the order of the shares: sorted, as in a plan.

    Raises:
        OptionError: Another number of partners, or of seeds, than the settings say.
        InputError: A folder cannot be written.
    """
    if len(partners) != settings.n_partners or len(settings.seeds) != 1 or list(partners) != sorted(set(partners)):
        raise OptionError(
            f"expected {settings.n_partners} partners in order and one seed, got {', '.join(partners)} and "
            f"{len(settings.seeds)} seeds"
        )
    cards = {}
    for index, partner in enumerate(partners):
        home = folder / partner
        cards[partner] = write_interactions(
            home / DATA_FOLDER, partner_share(settings, index, partner), recipe_digest(settings)
        )
        write_whole(home / SITE_FILE, _SITE.format(partner=partner, data=DATA_FOLDER).encode())
    return cards


def write_coordinator(folder: Path, partner: str, checkpoint_every_s: int) -> None:
    """Write the coordinator's `coordinator.toml`; keys and papers are its own.

    Raises:
        InputError: The folder cannot be written.
    """
    text = _COORDINATOR.format(partner=partner, checkpoint_every_s=checkpoint_every_s)
    write_whole(folder / COORDINATOR_FILE, text.encode())


def partner_share(settings: ComparisonSettings, index: int, name: str) -> PartnerDataset:
    """What the partner of that number trains on in the comparison's one seed."""
    shared = share_out(settings, settings.seeds[0])
    train, valid = shared.split.rows(Part.TRAIN), shared.split.rows(Part.VALID)
    owner = shared.partition.owner
    return partner_dataset(shared.encoded, name, train=train[owner[train] == index], valid=valid[owner[valid] == index])
