"""The key with which a partner's service signs: its own, active in the version in force and not ended."""

from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError
from pharmonia.governance.agreement import KeyState, PartnerKey
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import time_text
from pharmonia.governance.identity import PrivateKey
from pharmonia.run.keyfiles import read_service_key
from pharmonia.run.site_config import CoordinatorConfig, SiteConfig


def own_key(config: SiteConfig | CoordinatorConfig, history: AgreementHistory, now: datetime) -> PrivateKey:
    """The key of a site or a coordinator's folder, with which its partner may sign now.

    Raises:
        KeyFileError: It cannot be read.
        AgreementError: The newest accepted version has it as another's, as retired or revoked, or not at all; or it has
            ended. Says since when, and what to do.
    """
    key = read_service_key(config.key, config.passphrase)
    key_id, partner = key.public.key_id, config.partner
    named = {one.public.key_id: one for signed in history.versions for one in signed.agreement.keys}
    owner = named[key_id].partner if key_id in named else "nobody"
    if owner != partner:
        raise _wrong(config.key, f"is a key of {owner} in the agreement; put a key of {partner} there")
    accepted = history.accepted()
    current = {one.public.key_id: one for one in accepted[-1].keys} if accepted else {}
    held = current.get(key_id)
    if held is None:
        raise _wrong(
            config.key,
            f"holds the key {key_id} of {partner}, which only version {history.versions[-1].agreement.version} "
            f"of the agreement names, and that lacks {'; '.join(history.lacking)}; have it signed by them",
        )
    if held.state is not KeyState.ACTIVE:
        others = ", ".join(one.public.key_id for one in accepted[-1].active_keys(partner)) or "none"
        raise _wrong(
            config.key,
            f"holds the key {key_id} of {partner}, which is {held.state} since version {_since(held, history)} "
            f"of the agreement; put an active key of {partner} there: {others}",
        )
    if now > held.valid_until:
        raise _wrong(
            config.key,
            f"holds the key {key_id} of {partner}, which ended {time_text(held.valid_until)}; make another with "
            f"`pharmonia keys rotate` and have the agreement amended with its card",
        )
    return key


def _wrong(path: Path, what: str) -> AgreementError:
    """What an error says may reach the coordinator, so it names the file without its folder; our own log has both."""
    error = AgreementError(f"{path.name} {what}")
    error.add_note(f"the file is {path}")
    return error


def _since(held: PartnerKey, history: AgreementHistory) -> int:
    return next(one.version for one in history.accepted() if held in one.keys)
