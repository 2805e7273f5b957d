"""Where a run under a plan finds its papers and keeps its ledger.

KEYS holds one folder for each partner, which between companies would be on its own machine. In KEYS/PARTNER,
PARTNER.key is what it signs with, PARTNER.key.commitment the secret under which plans name its data sets, policy.json
its own policy. LEDGER/PARTNER is that partner's copy of the ledger.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """Places of a simulated consortium; none of what lies there changes results.

    Args:
        plan: The plan with its approvals.
        agreement: The agreement, a file or a consortium's folder.
        ledger: Holds a copy of the ledger for each partner.
        keys: Holds a folder for each partner; all on one machine only because this simulates.
    """

    plan: Path
    agreement: Path
    ledger: Path
    keys: Path

    def key_file(self, partner: str) -> Path:
        """What the partner signs with."""
        return self.keys / partner / f"{partner}.key"

    def commitment_file(self, partner: str) -> Path:
        """The secret under which plans name the partner's data sets."""
        return self.keys / partner / f"{partner}.key.commitment"

    def policy_file(self, partner: str) -> Path:
        """The partner's own policy."""
        return self.keys / partner / "policy.json"

    def copy_of(self, partner: str) -> Path:
        """The folder of the partner's copy of the ledger."""
        return self.ledger / partner
