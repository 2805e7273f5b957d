"""One error tree; each branch is something the reader can do and owns one exit code, never reused."""

from typing import ClassVar


class PharmoniaError(Exception):
    """Root of every error we raise on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(PharmoniaError):
    """Fix the named file, row or option and run again."""

    exit_code = 2


class ConsortiumError(PharmoniaError):
    """Ask the consortium: a permission, an approval or a signature is missing."""

    exit_code = 3


class EvidenceError(PharmoniaError):
    """Distrust the evidence: bytes on disk or wire are not what they should be."""

    exit_code = 4


class EngineError(PharmoniaError):
    """Look at the engine: a party, process or connection failed."""

    exit_code = 5


class FetchError(EngineError):
    """A download failed; try again or name a mirror directory."""


class InterruptedRunError(PharmoniaError):
    """Run the same command again to resume; the code that shells give to Ctrl-C."""

    exit_code = 130


class UnknownNameError(InputError):
    """A data set, unit, partition or column of that name does not exist."""


class OptionError(InputError):
    """An option's value is out of its range."""


class DataFileError(InputError):
    """A data file cannot be read as what it should be; names file and row."""


class CompoundError(InputError):
    """A SMILES string is not a compound that we can represent."""


class ProteinError(InputError):
    """A sequence is not a protein that we can represent."""


class PartitionError(InputError):
    """The rows cannot be shared out, or split, as asked."""


class UpdateError(InputError):
    """A partner's update cannot be used."""


class MetricError(InputError):
    """A metric is not defined for these values."""


class MissingExtraError(InputError):
    """A command needs packages of an extra that is not installed."""


class DiskFullError(InputError):
    """A disk is full; make room there, and the run goes on."""


class DigestError(EvidenceError):
    """Bytes do not have the SHA-256 digest that they must have; names both."""


class CacheError(EvidenceError):
    """A cached file is damaged; remove it and fetch again."""


class MessageError(EvidenceError):
    """A frame is truncated, oversized, of another version, or not for this round."""


class StoreError(EvidenceError):
    """The store of runs does not hold what it should."""


class BundleError(EvidenceError):
    """A bundle of a trained model is damaged, or of another version; names the file."""


class RosterError(ConsortiumError):
    """The partners or terms of a secure aggregation are not ones that it can protect."""


class HeaderError(ConsortiumError):
    """A round header breaks the terms that this partner holds; nothing was masked."""


class KeyExchangeError(EvidenceError):
    """A session key is not signed by the identity pinned for its partner."""


class ReplayError(EvidenceError):
    """A round, or an update, that was masked before; nothing more leaves for it."""


class SurvivorsError(EvidenceError):
    """A set of survivors is not the one that enough partners signed."""


class RecipeError(ConsortiumError):
    """Data were prepared under another recipe or key than the consortium agreed on; names the difference."""


class ExpectationError(ConsortiumError):
    """Data depart from what the consortium expects of every partner; ask whether that is meant."""


class RoundLostError(EngineError):
    """Too few partners stayed for this round's sum; skip the step and open another round."""


class RegroupError(EngineError):
    """A partner that was away is back; the run is begun again with it, from the round where it stands."""


class UnreachableError(EngineError):
    """A partner did not answer in time, or its machine cannot be reached; the run can go on once it is back."""


class EventError(InputError):
    """An event holds what no ledger takes: only ids, digests, names of closed lists, small numbers and times enter."""


class LedgerBusyError(InputError):
    """Another process is writing this ledger; end it and run again."""


class ServiceBusyError(InputError):
    """Another process serves this folder or kit, or listens on the server's port; end it and run again."""


class LedgerError(EvidenceError):
    """A line of a ledger, a checkpoint or a proof is not what it should be; names the line."""


class ProofError(EvidenceError):
    """A proof of inclusion or consistency cannot be made or does not hold."""


class IdentityError(InputError):
    """A key, passphrase, or name of a partner is not one that can be used."""


class KeyFileError(InputError):
    """A key file cannot be read, written or decrypted; names the file."""


class TermsError(InputError):
    """Terms, a plan or a policy that nobody could keep; fix the named field."""


class DocumentError(EvidenceError):
    """A signed document is not what its owner wrote: damaged, altered, or signed by nobody who may; names it."""


class AgreementError(ConsortiumError):
    """An agreement is not in force: signatures are missing, it has ended, or another version replaced it."""


class RefusedError(ConsortiumError):
    """The agreement, the plan or a partner's own policy does not allow it; names document, version and remedy."""


class CertificateError(EvidenceError):
    """A certificate or a request for one is of another authority, key, partner or use than it must be; names it."""


class CertificateEndedError(ConsortiumError):
    """A certificate has expired or soon will; ask the coordinator for a new one."""


class KitError(EvidenceError):
    """A file of a start-up kit is missing, altered, or none of the kit's; make the kit again."""


class VerificationError(EvidenceError):
    """A ledger does not verify; the first family of checks that failed owns the exit code."""


class LedgerFormError(VerificationError):
    """Lines of a ledger, or checkpoints, are not in canonical form."""

    exit_code = 41


class LedgerSignatureError(VerificationError):
    """Entries are not signed by keys that were active."""

    exit_code = 42


class LedgerOrderError(VerificationError):
    """Entries are missing, repeated, out of order or at impossible times."""

    exit_code = 43


class LedgerTreeError(VerificationError):
    """Entries do not hash to the roots of the checkpoints, or the checkpoints do not cover them."""

    exit_code = 44


class LedgerThresholdError(VerificationError):
    """Checkpoints or agreement versions lack signatures of enough partners."""

    exit_code = 45


class LedgerApprovalError(VerificationError):
    """Rounds ran without a plan that their contributors had approved."""

    exit_code = 46


class LedgerPermissionError(VerificationError):
    """Somebody did what neither its role nor the agreement allows."""

    exit_code = 47


class DeliveredModelError(VerificationError):
    """A delivered model is not one that the ledger shows being handed over."""

    exit_code = 48


class ReportedFigureError(VerificationError):
    """A report is not the one that the ledger names, or its figures are others."""

    exit_code = 49
