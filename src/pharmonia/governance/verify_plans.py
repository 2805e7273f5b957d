"""Plans that an auditor holds: are they what was signed?"""

from datetime import datetime

from pharmonia.base.errors import DocumentError
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.plan import SignedPlan


def require_signed(signed: SignedPlan, history: AgreementHistory, now: datetime) -> None:
    """Nothing, if every signature on a plan is over it, by a key of the version of the agreement that it names.

    Whether any did, and enough of them, is for the ledger to say, which names plans by their digests.

    Raises:
        DocumentError: It names no accepted version, or a signature is not over these bytes.
        AgreementError: A signature by a key that may not sign, or from the future.
    """
    plan = signed.plan
    name = f"{plan.label}, version {plan.version}"
    version = next((one for one in history.accepted() if one.digest == plan.agreement), None)
    if version is None:
        raise DocumentError(
            f"{name} is under no version of the agreement given; ask for the agreement with all its versions, or for "
            f"the plan that was run"
        )
    signed.approved_by(version, now)
