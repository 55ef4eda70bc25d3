"""The report as Markdown."""

from amc_platform.reporting.content import Contrast, PageData
from amc_platform.reporting.statements import interval_text, statement_notes, statement_texts, verdict_texts
from amc_platform.reporting.table import columns, markdown_table, signed, table_texts


def render_markdown(data: PageData) -> str:
    """Title, claim, table, how sure it is, contrasts and how the numbers were made; ends with a line break."""
    parts = [f"# {data.title}", data.claim, "Pointing accuracy in per cent; " + legend(data) + "."]
    parts.append(markdown_table(*table_texts(data.rows, data.baselines)))
    parts += ["## How sure that is", markdown_table(*statement_texts(data)), *statement_notes(data)]
    for contrast in data.contrasts:
        parts += [f"## {contrast.title}", markdown_table(*contrast_texts(data, contrast))]
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
    several = any(row.seeds > 1 for row in data.rows)
    single = any(row.seeds == 1 for row in data.rows)
    said = ["± is the standard deviation over seeds"] if several else []
    return ", ".join([*said, *(["a range is the 95 % interval over images"] if single else [])])


def contrast_texts(data: PageData, contrast: Contrast) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of a contrast, a line for each column of the table: difference, interval, test, phrases."""
    heads = ["phrases", "difference", "95 % interval", "p (Holm)", "", "n"]
    lines = [
        [
            group.replace("/", " "),
            signed(contrast.groups[group].difference),
            interval_text(contrast.groups[group]),
            *verdict_texts(contrast.adjusted[group]),
            str(contrast.groups[group].phrases),
        ]
        for group in columns(data.rows)
    ]
    return heads, lines
