"""One web page that redoes the paper's experiments on the user's songs: `rtae report`.

The page is a single file: pictures and sounds are in it, and its content policy forbids it to load anything. What it
says about them is worked out from the figures, in `rtae.report_sections`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from rtae import __version__
from rtae.audio.file import find_audio
from rtae.audio.output import to_steps
from rtae.clips import common_rate, gather
from rtae.errors import AudioFileError
from rtae.models import available, find
from rtae.report_ground import MODELS, VAE, Excerpt, Ground, Section, read_excerpt
from rtae.report_sections import SECTIONS
from rtae.runtime import OnnxModel

TEMPLATE = Path(__file__).parent / "assets" / "report.html"
MOST_SONGS = 24  # of which something is to be heard; the clusters are of all
BITS = 16


def collect_songs(paths: Sequence[Path]) -> list[Path]:
    """Files, and those in folders, each once. Raises AudioFileError where there are none."""
    found: list[Path] = []
    for path in paths:
        found += find_audio(path) if path.is_dir() else [path]
    if not found:
        raise AudioFileError("There are no audio files in what was given; give songs, or a folder of songs")
    return list(dict.fromkeys(found))


def data_uri(content: bytes, kind: str) -> str:
    """Content that stands in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def flac(audio: NDArray[np.float32], rate: int) -> bytes:
    """Mono as the content of a flac, turned down if it would clip."""
    out = BytesIO()
    audio = np.nan_to_num(audio, nan=0, posinf=0, neginf=0)
    peak = max(1.0, float(np.abs(audio).max(initial=0)))
    sf.write(out, to_steps(np.asarray(audio / peak, np.float32), BITS), rate, "PCM_16", format="FLAC")
    return out.getvalue()


def section_html(section: Section, rate: int) -> str:
    """One section of the page."""
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>", *(f"<p>{escape(text)}</p>" for text in section.text)]
    for caption, picture in section.pictures:
        uri = data_uri(picture, "image/png")
        parts.append(
            f'<figure><img alt="{escape(caption)}" src="{uri}"><figcaption>{escape(caption)}</figcaption></figure>'
        )
    if section.table:
        head, *rows = section.table
        lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
        lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
        parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
    if section.sounds:
        players = [
            f'<div><span>{escape(name)}</span><audio controls preload="metadata" '
            f'src="{data_uri(flac(audio, rate), "audio/flac")}"></audio></div>'
            for name, audio in section.sounds
        ]
        parts.append('<div class="sounds">' + "\n".join(players) + "</div>")
    return "\n".join([*parts, "</section>"])


def lay_ground(
    paths: Sequence[Path], seconds: float, most: int, seed: int, tell: Callable[[str], None]
) -> tuple[Ground, list[str]]:
    """Models, excerpts and clips, and notes on what could not be used. Raises AudioFileError, ModelError."""
    there = available()
    folders = {name: find(name) for name in (*MODELS, *((VAE,) if VAE in there else ()))}
    models = {name: OnnxModel.load(folder) for name, folder in folders.items()}
    rate = common_rate(models)
    notes: list[str] = []
    excerpts: list[Excerpt] = []
    for path in paths:
        if len(excerpts) == MOST_SONGS:
            notes.append(f"examples are of the first {MOST_SONGS} songs, of {len(paths)}")
            break
        tell(f"Reading {path.name}")
        try:
            excerpts.append(read_excerpt(path, rate, seconds))
        except AudioFileError as error:
            notes.append(str(error))
    if not excerpts:
        raise AudioFileError(f"None of the songs can be used: {notes[0]}")
    three = {name: models[name] for name in MODELS}
    material = None
    try:
        material = gather(
            paths, three, most, lambda done, total, name: tell(f"Encoding {name}: clip {done} of {total}")
        )
        notes += [f"{path} is not among the clips: {reason}" for path, reason in material.skipped.items()]
    except AudioFileError as error:
        notes.append(str(error))
    return Ground(models, folders, tuple(excerpts), material, rate, seconds, seed), notes


def make_report(
    paths: Sequence[Path],
    out: Path,
    seconds: float,
    most: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Path, list[str]]:
    """Write index.html into a folder that exists: its path, and notes. Raises AudioFileError, ModelError."""
    ground, notes = lay_ground(paths, seconds, most, seed, tell)
    sections = []
    for title, build in SECTIONS.items():
        tell(title)
        sections.append(section_html(build(ground), ground.rate))
    listing = ", ".join(excerpt.name for excerpt in ground.excerpts)
    clips = f"{len(ground.material.clips)} clips of 5 s" if ground.material else "no clips"
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        songs=escape(listing),
        clips=clips,
        models=escape(", ".join(ground.models)),
        version=__version__,
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        sections="\n".join(sections),
    )
    target = out / "index.html"
    beside = out / "index.html.part"
    try:
        beside.write_text(page, encoding="utf-8", errors="replace")
        beside.replace(target)
    except OSError as error:
        raise AudioFileError(f"{target} cannot be written ({error.strerror}); choose another --out") from None
    finally:
        beside.unlink(missing_ok=True)
    return target, notes
