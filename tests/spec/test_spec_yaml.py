import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amc_models.errors import InputError
from amc_platform.spec.yaml_text import parse, to_yaml

# YAML folds the rarer line ends and does not take control characters.
LETTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.just("\n")
TEXT = st.text(LETTERS) | st.sampled_from(
    ["off", "1e-4", "1", "~", "true", "", "1:30", "2024-01-02", " x", "a: b"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
KEYS = st.text(LETTERS, min_size=1, max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("1e-4", 0.0001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-3", -3),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("~", None),
        ("True", True),
        ("'1'", "1"),
    ],
)
def test_plain_values_mean_what_they_look_like(text: str, value: object) -> None:
    read = parse(text, "x").plain()
    assert read == value
    assert type(read) is type(value)


@settings(max_examples=50)
@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse(to_yaml(value), "x").plain() == value


def test_every_key_knows_its_line() -> None:
    root = parse("a: 1\nb:\n  - c: 2\n\n    d:\n      3\n", "f.yaml")
    found = [root.find(path) for path in (["a"], ["b"], ["b", 0, "c"], ["b", 0, "d"])]
    assert [entry.origin.place for entry in found if entry] == [
        "f.yaml:1",
        "f.yaml:2",
        "f.yaml:3",
        "f.yaml:5",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a: written twice, first at f.yaml:1; remove one"),
        ("a:\n  b: 1\n  b: 1\n", "f.yaml:3: b: written twice"),
        ("a: 1\n b: [\n", "f.yaml:2: not valid YAML"),
        ("a: [1, 2\nb: 3\n", "f.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system x\n", "f.yaml:1: not valid YAML"),
        ("a: !!int x\n", "f.yaml: not valid YAML"),
        ("a: \x01\n", "f.yaml: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: not valid YAML"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be one word"),
        ("a: &x\n  b: *x\n", "an anchor contains itself"),
        ("", "f.yaml: is empty"),
        ("# nothing\n", "f.yaml: is empty"),
        ("[" * 1500, "f.yaml: not valid YAML"),
    ],
)
def test_broken_yaml_is_one_line_that_names_the_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text, "f.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_anchor_may_be_used_twice() -> None:
    assert parse("a: &x {b: 1}\nc: *x\n", "f").plain() == {"a": {"b": 1}, "c": {"b": 1}}
