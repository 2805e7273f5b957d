"""How a partner trains in a round and how the rounds go together; known without loading PyTorch."""

from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.base.owncode import OwnCode
from pharmonia.nn.choices import NORMED_MODELS, Model, Norm

MAX_SEED = 2**32 - 1
SERVER, LOCAL = "server", "local"  # `def server_fedavgm(...)`, `def local_fedavgm(...)` make the method `fedavgm`
VALIDATION_WEIGHT_BITS = 12  # weights by validation are at most 2^12


class Optimiser(StrEnum):
    """How gradients are followed."""

    ADAM = "adam"  # Kingma and Ba 2015, arXiv:1412.6980
    SGD = "sgd"


class Aggregation(StrEnum):
    """What the coordinator learns of a partner's update."""

    SECURE = "secure"  # nothing but the sum over the partners
    PLAIN = "plain"  # everything; for research


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What a partner does in a round; all of it changes results.

    Args:
        model: The network.
        norm: Normalisation in it; BATCH also stands for the published form of a network that has none.
        optimiser: Its state stays at the partner from round to round; with FedSGD, at the coordinator.
        learning_rate: Above 0.
        batch_size: Rows per step, at least 2; with FedSGD, of all partners together.
        local_epochs: Passes over the training rows per round, at least 1; with FedSGD it is 1.

    Raises:
        OptionError: A value is out of range.
    """

    model: Model
    norm: Norm
    optimiser: Optimiser
    learning_rate: float
    batch_size: int
    local_epochs: int

    def __post_init__(self) -> None:
        if self.norm is not Norm.BATCH and self.model not in NORMED_MODELS:
            raise OptionError(f"the network {self.model} has no normalisation, so the norm {self.norm} means nothing")
        if not 0 < self.learning_rate < 10:
            raise OptionError(f"the learning rate must be above 0 and below 10, got {self.learning_rate}")
        if self.batch_size < 2:
            raise OptionError(f"the batch size must be at least 2, got {self.batch_size}")
        if self.local_epochs < 1:
            raise OptionError(f"the local epochs must be at least 1, got {self.local_epochs}")


class Algorithm(StrEnum):
    """How partners' steps become one."""

    FEDAVG = "fedavg"  # McMahan et al. 2017, arXiv:1602.05629, Algorithm 1
    FEDSGD = "fedsgd"  # the same, its baseline: a gradient sum per minibatch
    FEDPROX = "fedprox"  # Li et al. 2020, arXiv:1812.06127, Algorithm 2
    FEDADAM = "fedadam"  # Reddi et al. 2021, arXiv:2003.00295, Algorithm 2
    FEDYOGI = "fedyogi"
    FEDADAGRAD = "fedadagrad"
    SCAFFOLD = "scaffold"  # Karimireddy et al. 2020, arXiv:1910.06378, Algorithm 1


class Private(StrEnum):
    """Which part of the network each partner keeps to itself."""

    NOTHING = "nothing"
    NORMS = "norms"  # Li et al. 2021, FedBN, arXiv:2102.07623
    HEAD = "head"  # Arivazhagan et al. 2019, FedPer, arXiv:1912.00818


class Weighting(StrEnum):
    """How much a partner's update counts."""

    ROWS = "rows"  # its training rows
    EQUAL = "equal"
    VALIDATION = "validation"  # more, the more its round lowered its own validation error


_STRENGTH = {  # what the number after the name means, and what it is unless given
    Algorithm.FEDPROX: 0.01,  # mu
    Algorithm.FEDADAM: 0.01,  # the server's learning rate
    Algorithm.FEDYOGI: 0.01,
    Algorithm.FEDADAGRAD: 0.1,
}
_ADAPTIVE = {Algorithm.FEDADAM, Algorithm.FEDYOGI, Algorithm.FEDADAGRAD}
_REVISIONS = {Algorithm.FEDADAGRAD: 2}  # 2: without momentum; what a name means never changes without a number here
_MODIFIERS: dict[str, Private | Weighting] = {
    "private-norms": Private.NORMS,
    "private-head": Private.HEAD,
    "equal": Weighting.EQUAL,
    "validation": Weighting.VALIDATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSteps:
    """Steps of one's own, by functions in a file beside the battery.

    Args:
        code: The file.
        name: Of the method in it.

    Raises:
        OptionError: The file has no such method.
    """

    code: OwnCode
    name: str

    def __post_init__(self) -> None:
        if self.name not in (known := own_methods(self.code)):
            raise OptionError(f"no method {self.name!r} in {self.code.file}; it has {', '.join(known) or 'none'}")

    def has(self, kind: str) -> bool:
        """Whether the file says what the coordinator (SERVER) or a partner (LOCAL) does."""
        return self.name in self.code.names(kind)


def own_methods(code: OwnCode | None) -> tuple[str, ...]:
    """The methods in a file of one's own.

    Raises:
        OptionError: One of them has the name of one of Pharmonia's.
    """
    if code is None:
        return ()
    names = tuple(dict.fromkeys([*code.names(SERVER), *code.names(LOCAL)]))
    if taken := sorted(set(names) & set(Algorithm)):
        raise OptionError(f"{code.file}: Pharmonia has a method {taken[0]!r} itself; choose another name")
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A federated method.

    Its text is the algorithm, its strength where it has one, and what departs from the usual: `fedavg`,
    `fedprox:0.1`, `fedadam:0.003+equal`, `fedavg+private-norms`.

    Args:
        algorithm: How partners' steps become one.
        strength: mu of FedProx, the server's learning rate of FedAdam, FedYogi and FedAdagrad, what steps of one's own
            take it for; else 0.
        private: What never leaves a partner and is never averaged.
        weighting: How much a partner's update counts; ROWS with FedSGD.
        own: What departs from FedAvg, where the method is one's own.

    Raises:
        OptionError: A strength out of range, none for an adaptive coordinator, or one for an algorithm that has none;
            FedSGD not weighted by rows; or steps of one's own in another algorithm than FedAvg.
    """

    algorithm: Algorithm = Algorithm.FEDAVG
    strength: float = 0.0
    private: Private = Private.NOTHING
    weighting: Weighting = Weighting.ROWS
    own: OwnSteps | None = None

    def __post_init__(self) -> None:
        if self.own is not None and self.algorithm is not Algorithm.FEDAVG:
            raise OptionError(f"steps of one's own depart from fedavg, not from {self.algorithm}")
        has_strength = self.algorithm in _STRENGTH or self.own is not None
        if not 0 <= self.strength < 1000 or (self.strength > 0 and not has_strength):
            raise OptionError(f"{self.algorithm} takes no strength of {self.strength}; it has {_strengths()}")
        if self.strength == 0 and self.algorithm in _ADAPTIVE:
            raise OptionError(f"{self.algorithm} with a learning rate of 0 never leaves the first model")
        if self.weighting is not Weighting.ROWS and self.algorithm is Algorithm.FEDSGD:
            raise OptionError(
                f"fedsgd takes no weighting, got {self.weighting}: it sums gradients over the rows of a minibatch "
                "of all partners together, so each partner counts by its rows in it"
            )

    @staticmethod
    def parse(text: str, code: OwnCode | None = None) -> "Method":
        """The method that a text names, Pharmonia's or one's own.

        Raises:
            UnknownNameError: An algorithm or modifier that is none.
            OptionError: A strength that is no number or out of range, or a second private part or weighting.
        """
        named, *modifiers = text.split("+")
        name, colon, number = named.partition(":")
        names = own_methods(code)
        own = OwnSteps(code=code, name=name) if code is not None and name in names else None
        if own is None and name not in set(Algorithm):
            raise UnknownNameError(f"a method is one of {', '.join([*Algorithm, *names])}; got {text!r}")
        algorithm = Algorithm.FEDAVG if own is not None else Algorithm(name)
        try:
            strength = float(number) if colon else _STRENGTH.get(algorithm, 0.0)
        except ValueError as error:
            raise OptionError(f"{text!r}: after the colon comes a number") from error
        private, weighting = Private.NOTHING, Weighting.ROWS
        for modifier in modifiers:
            match _MODIFIERS.get(modifier):
                case Private() as found if private is Private.NOTHING:
                    private = found
                case Weighting() as found if weighting is Weighting.ROWS:
                    weighting = found
                case None:
                    raise UnknownNameError(f"{text!r}: after a plus comes one of {', '.join(_MODIFIERS)}")
                case _:
                    raise OptionError(f"{text!r}: at most one private part and one weighting; {modifier!r} is a second")
        return Method(algorithm=algorithm, strength=strength, private=private, weighting=weighting, own=own)

    def __str__(self) -> str:
        """The text that `parse` reads as this method and no other; it is in signed plans."""
        has_strength = self.algorithm in _STRENGTH or self.strength > 0
        strength = f":{_number(self.strength)}" if has_strength else ""
        words = [word for word, value in _MODIFIERS.items() if value in (self.private, self.weighting)]
        return "+".join([f"{self.algorithm if self.own is None else self.own.name}{strength}", *words])

    @property
    def identity(self) -> str:
        """What run ids know it by: its text, and what that does not say of its results."""
        if self.own is not None:
            return f"{self}@{self.own.code.digest}"
        return f"{self}@{_REVISIONS[self.algorithm]}" if self.algorithm in _REVISIONS else str(self)


def check_passes(method: Method, local_epochs: int) -> None:
    """Refuse FedSGD with several local epochs, which would train every other arm of a comparison longer.

    Raises:
        OptionError: It has more than one.
    """
    if method.algorithm is Algorithm.FEDSGD and local_epochs > 1:
        raise OptionError(
            f"fedsgd goes through the rows once a round, so it takes 1 local epoch, got {local_epochs}; give more "
            "rounds instead, or a method that trains locally, such as fedavg"
        )


def check_private(method: Method, model: Model) -> None:
    """Refuse private norms where the network has none: nothing would be private.

    Raises:
        OptionError: It has none.
    """
    if method.private is Private.NORMS and model not in NORMED_MODELS:
        raise OptionError(
            f"the network {model} has no normalisation to keep private, so {method} means nothing for it; leave out "
            f"+private-norms, or take one of {', '.join(sorted(NORMED_MODELS))}"
        )


def _number(value: float) -> str:
    """The value to six digits where those are all of it, else its shortest exact text."""
    rounded = f"{value:g}"
    return rounded if float(rounded) == value else repr(float(value))


def _strengths() -> str:
    return ", ".join(f"{algorithm} 0 to 1000" for algorithm in _STRENGTH)
