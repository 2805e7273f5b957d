"""How a partner trains in a round and how the rounds go together; known without loading PyTorch."""

from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.nn.choices import NORMED_MODELS, Model, Norm

MAX_SEED = 2**32 - 1
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
_MODIFIERS: dict[str, Private | Weighting] = {
    "private-norms": Private.NORMS,
    "private-head": Private.HEAD,
    "equal": Weighting.EQUAL,
    "validation": Weighting.VALIDATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A federated method.

    Its text is the algorithm, its strength where it has one, and what departs from the usual: `fedavg`,
    `fedprox:0.1`, `fedadam:0.003+equal`, `fedavg+private-norms`.

    Args:
        algorithm: How partners' steps become one.
        strength: mu of FedProx, the server's learning rate of FedAdam, FedYogi and FedAdagrad; else 0.
        private: What never leaves a partner and is never averaged.
        weighting: How much a partner's update counts; ROWS with FedSGD.

    Raises:
        OptionError: A strength out of range, or one for an algorithm that has none, or FedSGD not weighted by rows.
    """

    algorithm: Algorithm = Algorithm.FEDAVG
    strength: float = 0.0
    private: Private = Private.NOTHING
    weighting: Weighting = Weighting.ROWS

    def __post_init__(self) -> None:
        if not 0 <= self.strength < 1000 or (self.strength > 0 and self.algorithm not in _STRENGTH):
            raise OptionError(f"{self.algorithm} takes no strength of {self.strength}; it has {_strengths()}")
        if self.weighting is not Weighting.ROWS and self.algorithm is Algorithm.FEDSGD:
            raise OptionError(
                f"fedsgd takes no weighting, got {self.weighting}: it sums gradients over the rows of a minibatch "
                "of all partners together, so each partner counts by its rows in it"
            )

    @staticmethod
    def parse(text: str) -> "Method":
        """The method that a text names.

        Raises:
            UnknownNameError: An algorithm or modifier that is none.
            OptionError: A strength that is no number or out of range, or a second private part or weighting.
        """
        named, *modifiers = text.split("+")
        name, _, number = named.partition(":")
        if name not in set(Algorithm):
            raise UnknownNameError(f"a method is one of {', '.join(Algorithm)}; got {text!r}")
        algorithm = Algorithm(name)
        try:
            strength = float(number) if number else _STRENGTH.get(algorithm, 0.0)
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
        return Method(algorithm=algorithm, strength=strength, private=private, weighting=weighting)

    def __str__(self) -> str:
        """The text that `parse` reads as this method and no other; it is in run ids and signed plans."""
        strength = f":{_number(self.strength)}" if self.algorithm in _STRENGTH else ""
        words = [word for word, value in _MODIFIERS.items() if value in (self.private, self.weighting)]
        return "+".join([f"{self.algorithm}{strength}", *words])


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
