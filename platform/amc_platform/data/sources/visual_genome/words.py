"""How Visual Genome's names and attributes become English: cleaning, word order, article."""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MARKS = re.compile(r"[^\w'-]+|_")
_ARTICLES = ("a", "an", "the")
_COPULAS = ("is", "are", "was", "were")
_PREPOSITIONS = _words(
    "about above across against around at behind below beneath beside between by down from for in inside "
    "into near of off on onto out outside over through to toward towards under up upon with without"
)
_SIDES = _words("left right top bottom upper lower leftmost rightmost topmost bottommost")
_DETERMINERS = _words(
    "one two three four five six seven eight nine ten some many several few multiple various all both each "
    "every another no my your his her its our their this that these those"
)
_MASS = _words(
    "air asphalt bacon baggage beer bread broccoli butter cement cheese chocolate clothing coffee concrete "
    "corn cream cutlery debris dirt dust equipment fabric fat flooring foam fog foliage food frosting "
    "fur furniture garbage graffiti grass gravel greenery hair ham hay ice icing ink jewelry juice ketchup "
    "lettering lettuce luggage meat metal milk moss mud mulch mustard pasta pavement plastic rice "
    "rubble salt sand scenery seaweed shrubbery silverware skin smoke snow steam stuff sugar sunlight "
    "tea text traffic trash vegetation water wine wood writing"
)
_PLURALS = _words(
    "people men women children kids feet teeth geese mice oxen cattle police skis taxis kiwis bikinis menus "
    "policemen firemen businessmen fishermen snowmen sheep"
)
_SINGULARS = _words("lens gas canvas christmas atlas texas series species bias")
_SOUNDS_LIKE_CONSONANT = re.compile(r"(uni(?!n|m|d)|us[aeiu]|ut[ei]|ur[io]|eu|ewe|one\b|once\b|u\b|u-)")
_SILENT_H = re.compile(r"(hour|honest|honou?r|heir)")


def clean(text: str) -> str:
    """Lower case, words parted by single spaces, without punctuation and leading articles.

    What holds no letter or digit becomes "".
    """
    words = _MARKS.sub(" ", text.lower()).split()
    words = [word.strip("-'") for word in words]
    words = [word for word in words if word]
    while words and words[0] in _ARTICLES:
        words.pop(0)
    return " ".join(words)


def noun_phrase(name: str, attribute: str = "") -> str:
    """A cleaned name with a cleaned attribute and its article: "a brown dog", "a man wearing a hat".

    An attribute stands before the name; one of several words follows it where it starts with a form in
    -ing or holds a preposition ("a table made of wood"). What the name says already is not said twice.
    """
    attribute = _without_copula(attribute)
    if not attribute or set(attribute.split()) <= set(name.split()):
        return _with_article(name, name)
    if _follows(attribute):
        return _with_article(f"{name} {attribute}", name)
    return _with_article(f"{attribute} {name}", name)


def names_a_side(text: str) -> bool:
    """Whether `text` speaks of a side itself ("left hand"), so that no other side may be put to it."""
    return not _SIDES.isdisjoint(text.split())


def _without_copula(attribute: str) -> str:
    first, _, rest = attribute.partition(" ")
    return clean(rest) if first in _COPULAS else attribute


def _follows(attribute: str) -> bool:
    words = attribute.split()
    return words[0] in _PREPOSITIONS or (
        len(words) > 1 and (words[0].endswith("ing") or not _PREPOSITIONS.isdisjoint(words))
    )


def _with_article(text: str, name: str) -> str:
    first, head = text.split()[0], _head(name)
    if first in _DETERMINERS or first[0].isdigit() or head in _MASS or _is_plural(head):
        return text
    vowel = first[0] in "aeiou" and not _SOUNDS_LIKE_CONSONANT.match(first)
    return f"an {text}" if vowel or _SILENT_H.match(first) else f"a {text}"


def _head(name: str) -> str:
    """The noun that decides about the article: "piece" of "piece of cake"."""
    words = name.split()
    before = next((i for i, word in enumerate(words) if i and word in _PREPOSITIONS), len(words))
    return words[before - 1]


def _is_plural(noun: str) -> bool:
    if noun in _PLURALS:
        return True
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is", "'s")) and noun not in _SINGULARS
