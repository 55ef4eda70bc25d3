"""What is said of a scene: the phrases listed with their boxes, and everything else that is true."""

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from amc_platform.data.rows import Phrase
from amc_platform.data.sources.scenes.layout import CLEARANCE_FRAC, ICONIC, UNSEEN
from amc_platform.data.sources.scenes.objects import (
    HELD_OUT_PAIRS,
    PLACES,
    PLAIN,
    RELATIONS,
    Scene,
    SceneObject,
)

Side = tuple[int, int]


def listed_phrases(scene: Scene, rng: random.Random) -> tuple[Phrase, ...]:
    """The scene's phrases, each text once. In split `unseen` all refer to pairs held out of training."""
    unseen = scene.split == UNSEEN
    targets = [o for o in scene.objects if not unseen or o.pair in HELD_OUT_PAIRS]
    phrases = [] if unseen else list(_category(scene, rng))
    phrases += _attribute(scene, targets, rng)
    phrases += _iconic_places(scene, rng) if scene.split == ICONIC else _twin_phrases(scene, rng)
    return tuple({phrase.text: phrase for phrase in phrases}.values())


def true_texts(scene: Scene) -> frozenset[str]:
    """Every text of the language that holds for the scene, however little it tells.

    A place holds by the side of the image's middle, a relation by the order of the two centres.
    """
    objects, middle = scene.objects, (scene.image_size / 2, scene.image_size / 2)
    texts = {f"a {o.pair.shape}" for o in objects}
    for o in objects:
        texts.update(_attribute_texts(o))
        texts.update(f"{_noun(o)} {place}" for place, side in PLACES.items() if _lies(o.center, side, middle))
        for other in objects:
            if other is not o:
                texts.update(
                    f"{_noun(o)} {relation} {_noun(other)}"
                    for relation, side in RELATIONS.items()
                    if _lies(o.center, side, other.center)
                )
    return frozenset(texts)


def _noun(o: SceneObject) -> str:
    return f"a {o.pair.colour} {o.pair.shape}"


def _attribute_text(o: SceneObject, with_size: bool, with_texture: bool) -> str:
    words = [o.size] * with_size + [o.texture] * (with_texture and o.texture != PLAIN)
    return " ".join(["a", *words, o.pair.colour, o.pair.shape])


def _attribute_texts(o: SceneObject) -> set[str]:
    return {_attribute_text(o, size, texture) for size in (False, True) for texture in (False, True)}


def _lies(
    point: tuple[float, float], side: Side, origin: tuple[float, float], clearance: float = 0.0
) -> bool:
    """Whether `point` is on `side` of `origin` by more than `clearance` along each axis that `side` names."""
    return all(s == 0 or s * (p - o) > clearance for s, p, o in zip(side, point, origin, strict=True))


def _category(scene: Scene, rng: random.Random) -> Iterator[Phrase]:
    shapes = sorted({o.pair.shape for o in scene.objects})
    for shape in rng.sample(shapes, rng.randint(1, min(2, len(shapes)))):
        boxes = tuple(o.box for o in scene.objects if o.pair.shape == shape)
        yield Phrase(f"a {shape}", boxes, "category", "", scene.split, False)


def _is_hard(o: SceneObject, scene: Scene) -> bool:
    """The colour alone and the shape alone fit another object as well."""
    others = [other.pair for other in scene.objects if other is not o]
    return any(p.colour == o.pair.colour and p.shape != o.pair.shape for p in others) and any(
        p.shape == o.pair.shape and p.colour != o.pair.colour for p in others
    )


def _attribute(scene: Scene, targets: Collection[SceneObject], rng: random.Random) -> Iterator[Phrase]:
    """Texts that fit one object only: mostly of the hard targets, and some in a second wording."""
    fitting = Counter(text for o in scene.objects for text in _attribute_texts(o))
    for o in targets:
        hard = _is_hard(o, scene)
        wordings = 1 + (rng.random() < 0.25) if hard or scene.split == ICONIC else int(rng.random() < 0.5)
        for _ in range(wordings):
            text = _attribute_text(o, rng.random() < 0.25, rng.random() < 0.25)
            if fitting[text] == 1:
                yield Phrase(text, (o.box,), "attribute", "", scene.split, hard)


def _iconic_places(scene: Scene, rng: random.Random) -> Iterator[Phrase]:
    """Where each object of an iconic scene clearly lies; nothing else has to be told apart from it."""
    middle = (scene.image_size / 2, scene.image_size / 2)
    for o in scene.objects:
        places = [
            p
            for p, side in PLACES.items()
            if _lies(o.center, side, middle, CLEARANCE_FRAC * scene.image_size)
        ]
        for place in rng.sample(places, min(len(places), 1)):
            yield Phrase(f"{_noun(o)} {place}", (o.box,), "spatial", "", scene.split, False)


def _twin_phrases(scene: Scene, rng: random.Random) -> Iterator[Phrase]:
    """Spatial and region phrases: only the place or the relation tells the target from its twin."""
    for target in scene.objects:
        twin = next((o for o in scene.objects if o is not target and o.pair == target.pair), None)
        if twin is None:
            continue
        middle = (scene.image_size / 2, scene.image_size / 2)
        clearance = CLEARANCE_FRAC * scene.image_size * 0.99
        hard = _is_hard(target, scene)
        places = _telling(PLACES, target, twin, middle, clearance)
        for place in rng.sample(places, min(len(places), rng.randint(1, 2))):
            yield Phrase(f"{_noun(target)} {place}", (target.box,), "spatial", "", scene.split, hard)
        relations = [
            f"{relation} {_noun(reference)}"
            for reference in scene.objects
            if sum(o.pair == reference.pair for o in scene.objects) == 1
            for relation in _telling(RELATIONS, target, twin, reference.center, clearance)
        ]
        for relation in rng.sample(relations, min(len(relations), rng.randint(1, 2))):
            yield Phrase(f"{_noun(target)} {relation}", (target.box,), "region", "", scene.split, hard)


def _telling(
    sides: Mapping[str, Side],
    target: SceneObject,
    twin: SceneObject,
    origin: tuple[float, float],
    clearance: float,
) -> list[str]:
    """The words that clearly hold for `target` and clearly fail for `twin`, seen from `origin`."""
    return [
        words
        for words, side in sides.items()
        if _lies(target.center, side, origin, clearance)
        and any(
            s != 0 and s * (p - o) < -clearance for s, p, o in zip(side, twin.center, origin, strict=True)
        )
    ]
