"""The report as Markdown."""

from amc_platform.reporting.content import Contrast, PageData
from amc_platform.reporting.table import ABSENT, markdown_table, table_texts


def render_markdown(data: PageData) -> str:
    """Title, claim, table, contrasts and how the numbers were made; ends with a line break."""
    parts = [f"# {data.title}", data.claim, "Pointing accuracy in per cent; " + legend(data) + "."]
    parts.append(markdown_table(*table_texts(data.rows, data.baselines)))
    for contrast in data.contrasts:
        parts += [f"## {contrast.title}", markdown_table(*contrast_texts(contrast))]
    facts = [
        ("protocol", f"{data.protocol.name} ({data.protocol.hash}): {data.protocol.describe()}"),
        *data.facts,
    ]
    if data.command:
        facts.insert(0, ("command", f"`{data.command}`"))
    parts += ["## How the numbers were made", "\n".join(f"- {label}: {value}" for label, value in facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def legend(data: PageData) -> str:
    """What stands beside the numbers."""
    several = any(len(row.seeds) > 1 for row in data.rows)
    single = any(len(row.seeds) == 1 for row in data.rows)
    said = ["± is the standard deviation over seeds"] if several else []
    return ", ".join([*said, *(["a range is the 95 % interval over images"] if single else [])])


def contrast_texts(contrast: Contrast) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of a contrast: difference in points, its interval, p where it was tested."""
    tested = any(of_group.p is not None for of_group in contrast.groups.values())
    heads = ["phrases", "difference", "95 % interval", *(["McNemar p"] if tested else []), "n"]
    lines = [
        [
            group,
            signed(of_group.difference),
            f"{signed(of_group.low)} to {signed(of_group.high)}",
            *([ABSENT if of_group.p is None else p_text(of_group.p)] if tested else []),
            str(of_group.phrases),
        ]
        for group, of_group in contrast.groups.items()
    ]
    return heads, lines


def p_text(p: float) -> str:
    """A probability; one below the smallest float is not said to be zero."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def signed(value: float) -> str:
    """A difference with its sign, the typographic minus included."""
    return f"{value:+.1f}".replace("-", "−")
