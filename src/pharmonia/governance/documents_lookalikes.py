"""Names that people could take for one another: look-alike letters, case, accents, hyphens.

Identifiers are ASCII, so only digits and pairs of letters can deceive there; display names may be in any script, but
one word stays in one of Latin, Greek and Cyrillic. Two partners' names must differ after look-alikes are made equal, in
the manner of the skeletons of Unicode Technical Standard 39; the table holds the letters that are drawn alike in Latin,
Greek and Cyrillic, not all of Unicode.
"""

import re
import unicodedata
from collections.abc import Mapping

from pharmonia.base.errors import TermsError

_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")
_DRAWN_ALIKE = {  # by the letter that stands for them: digits and Latin, Greek and Cyrillic letters
    "a": "\u03b1\u0430",
    "b": "\u03b2\u0431\u0432\u044c",
    "c": "\u0441",
    "d": "\u0501\u0111",
    "e": "\u03b5\u0435\u04373",
    "h": "\u03b7\u043d\u04bb",
    "j": "\u0458",
    "k": "\u03ba\u043a",
    "l": "\u03b9\u0456\u04cf1|i\u0142\u0131",
    "m": "\u043c",
    "n": "\u03bd\u043f",
    "o": "\u03bf\u043e0\u00f8",
    "p": "\u03c1\u0440",
    "q": "\u051b",
    "r": "\u0433",
    "s": "\u04555",
    "t": "\u03c4\u0442",
    "u": "\u03c5\u0438\u0439",
    "w": "\u03c9\u051d",
    "x": "\u03c7\u0445",
    "y": "\u03b3\u0443",
    "z": "\u03b6",
}
_ALIKE = {ord(other): letter for letter, others in _DRAWN_ALIKE.items() for other in others}
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


def skeleton(name: str) -> str:
    """What is left of a name when look-alikes are equal; two names with one skeleton can be confused."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    alike = plain.casefold().translate(_ALIKE)
    for pair, single in _PAIRS:
        alike = alike.replace(pair, single)
    return re.sub(r"[\W_]+", "", alike)


def require_one_script(name: str, what: str) -> None:
    """Refuses a word that mixes Latin, Greek and Cyrillic letters.

    Raises:
        TermsError: It does.
    """
    for word in name.split():
        scripts = {unicodedata.name(c, "").split(" ")[0] for c in word if c.isalpha()} & set(_SCRIPTS)
        if len(scripts) > 1:
            raise TermsError(f"{what}: the word {word!a} mixes letters of {' and '.join(sorted(scripts))}")


def require_distinct(names: Mapping[str, tuple[str, ...]], what: str) -> None:
    """Refuses two partners whose identifiers or names look alike.

    Args:
        names: All names of each partner, by its identifier.
        what: The document, for messages.

    Raises:
        TermsError: Two could be confused; names both.
    """
    owners: dict[str, tuple[str, str]] = {}
    for partner, own in names.items():
        for name in own:
            other = owners.setdefault(skeleton(name), (partner, name))
            if other[0] != partner:
                raise TermsError(
                    f"{what}: {name!a} of {partner} could be taken for {other[1]!a} of {other[0]}; rename one of them"
                )
