"""What a report says, whatever form it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amc_platform.evaluation.comparison import Comparison
from amc_platform.evaluation.gallery import Shot
from amc_platform.evaluation.protocol import Protocol
from amc_platform.reporting.paper import PaperFigure
from amc_platform.reporting.table import ResultRow


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart; several of one name (seeds) share a colour."""

    name: str
    points: tuple[tuple[int, float], ...]
    """(step, value), by step."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A chart over training steps."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class GalleryColumn:
    """The gallery of one row of the table (one seed of it)."""

    name: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """The reference row minus another, by group: `title` is, for instance, "amc − control", and `row` "control"."""

    title: str
    row: str
    groups: Mapping[str, Comparison]
    adjusted: Mapping[str, float]
    """p of the paired test by group, adjusted for the number of rows that are compared with the reference."""


@dataclass(frozen=True, slots=True)
class PageData:
    """A report of an experiment."""

    title: str
    claim: str
    command: str
    """How to make these numbers again."""
    rows: tuple[ResultRow, ...]
    protocol: Protocol
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """As `baseline_rows` makes them: what pointing scores without reading, in per cent."""
    paper: Mapping[str, Mapping[str, PaperFigure]] = field(
        default_factory=dict[str, Mapping[str, PaperFigure]]
    )
    """{row: {column: the paper's figure}}."""
    reference: str = ""
    """The row that the others are compared with."""
    contrasts: tuple[Contrast, ...] = ()
    gallery: tuple[GalleryColumn, ...] = ()
    curves: tuple[Curve, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """How the numbers were made: (label, value), such as ("data", its hash)."""
