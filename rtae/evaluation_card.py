"""`rtae evaluate --card`: what was measured, as a section of each model's CARD.md beside its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtae.errors import ModelError
from rtae.evaluate import Evaluation, Figures
from rtae.evaluation_report import COLUMNS, number
from rtae.spec import CARD_FILE
from rtae.systems import systems_of

HEADING = "## Measured"


def write_cards(result: Evaluation, folders: Sequence[Path]) -> list[Path]:
    """Put the section in place of the one that is there, or at the end: the cards that were written.

    Raises ModelError where a card cannot be read or written; it is written whole or not at all.
    """
    written = []
    for folder in folders:
        path = folder / CARD_FILE
        beside = path.with_name(path.name + ".part")
        try:
            beside.write_text(with_section(path.read_text(), section(result, folder)))
            beside.replace(path)
        except (OSError, UnicodeError) as error:
            beside.unlink(missing_ok=True)
            raise ModelError(f"{path} cannot be completed: {getattr(error, 'strerror', None) or error}") from None
        written.append(path)
    return written


def with_section(card: str, text: str) -> str:
    """A card with this section instead of an older one of its heading, before the list of its data.

    >>> with_section("# a\\n\\n## Measured\\n\\nold\\n\\n## Data\\n", "## Measured\\n\\nnew\\n")
    '# a\\n\\n## Measured\\n\\nnew\\n\\n## Data\\n'
    """
    head, old, rest = f"\n{card}".partition(f"\n{HEADING}\n")
    if old:
        _, next_heading, after = rest.partition("\n## ")
    else:
        head, next_heading, after = head.partition("\n## Data\n")
    tail = f"\n{next_heading.lstrip()}{after}" if next_heading else ""
    return f"{head.strip()}\n\n{text.strip()}\n{tail}"


def section(result: Evaluation, folder: Path) -> str:
    """The table of one model and its baselines, the means over all tracks."""
    wanted = {system.checksum for system in systems_of([folder])}
    rows = {s.name: result.mean(s.name) for s in result.systems if s.checksum in wanted}
    bands = dict.fromkeys(band for row in rows.values() for band in row.get("octaves") or {})
    shown = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    names = [COLUMNS[metric][0].replace("-\n", "-").replace("\n", " ") for metric in shown]
    head = [*names, *(f"{band} Hz" for band in bands)]
    lines = [
        HEADING,
        "",
        f"Means over {len(result.scores)} tracks (`rtae evaluate {folder.name} --on FOLDER --card`), beside the best "
        "linear code of the model's size and, where it was trained, the paper's recipe; of the octaves, the energy of "
        "the output against that of the input in dB.",
        "",
        "| | " + " | ".join(head) + " |",
        "|---|" + "---:|" * len(head),
    ]
    return "\n".join([*lines, *(row_of(name, row, shown, list(bands)) for name, row in rows.items())]) + "\n"


def row_of(name: str, row: Figures, shown: Sequence[str], bands: Sequence[str]) -> str:
    """One system in the table."""
    octaves = row.get("octaves") or {}
    cells = [number(row.get(metric), COLUMNS[metric][1]) for metric in shown]
    return f"| {name} | " + " | ".join([*cells, *(number(octaves.get(band), 1) for band in bands)]) + " |"
