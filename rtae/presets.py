"""Presets: named settings of all knobs, as small JSON files; those that come with the program and the user's own.

    {"format": 1, "name": "Underwater", "description": "One sentence.", "values": {"blur": 0.1, "mix": 0.9}}

What a file does not mention is at its default. A file may come from anywhere, so nothing in it is taken on trust;
`read_json` and `write_text` do the same for the other files of settings.
"""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from rtae.errors import ParameterError, PresetError
from rtae.params import TABLE, Snapshot

FORMAT = 1
SUFFIX = ".json"
FOLDER_VARIABLE = "RTAE_PRESETS"
FACTORY_FOLDER = Path(__file__).parent / "assets" / "presets"
MAX_BYTES = 64 * 1024
MAX_NAME, MAX_DESCRIPTION, MAX_FILE_NAME = 80, 500, 100
SHOWN = 40  # characters of a foreign text in a message
# Windows keeps these for devices, whatever the suffix.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
UNSAFE = re.compile(r'[<>:"/\\|?*]')


@dataclass(frozen=True)
class Preset:
    """One setting of all knobs. notes: what the file held that this program does not know, in sentences."""

    name: str
    description: str = ""
    values: Snapshot = field(default_factory=Snapshot)
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Entry:
    """A preset and the file that it is in; own: the user's and not the program's."""

    preset: Preset
    path: Path
    own: bool


# -- files of settings -------------------------------------------------------------------------------------------------
def read_json(path: Path, max_bytes: int, what: str) -> dict[str, Any]:
    """The object in a JSON file whose format this program knows. what: "a preset". Raises PresetError.

    Refused: what is no regular file, more than max_bytes, other encodings than UTF-8, names that occur twice, NaN and
    infinity, and nesting without end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise PresetError(f"{path} is not a file; give {what}")
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, PresetError):
            raise
        raise PresetError(f"{path} cannot be read ({reason_of(error)}); give {what}") from None
    if len(raw) > max_bytes:
        raise PresetError(f"{path} is too large for {what}: more than {max_bytes} bytes")
    try:
        content: Any = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=no_twins, parse_constant=no_constant)
    except UnicodeDecodeError:
        raise PresetError(f"{path} is not {what}: it is no text") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise PresetError(f"{path} is not {what}: not valid JSON ({reason})") from None
    members: dict[str, Any] = content if isinstance(content, dict) else {}
    version = members.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PresetError(f"{path} is not {what}: it has no format number")
    if version > FORMAT:
        raise PresetError(f"{path} has format {shown(version)}, this program knows up to {FORMAT}: update the program")
    return members


def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members. Raises ValueError where a name occurs twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        twin, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{shown(twin)} occurs twice")
    return members


def no_constant(name: str) -> float:
    """JSON has no NaN and no infinity. Raises ValueError."""
    raise ValueError(f"{name} is no number")


def write_text(path: Path, content: str, what: str) -> None:
    """Write a whole file or nothing, beside and then renamed; a link is followed. Raises PresetError."""
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise PresetError(f"Cannot write {what} to {path}: it is no file; give another name")
        beside = target.with_name(f".rtae-{uuid.uuid4().hex}.part")
        try:
            beside.write_text(content, encoding="utf-8", newline="\n")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, PresetError):
            raise
        raise PresetError(f"Cannot write {what} to {path} ({reason_of(error)}); choose another folder") from None


def reason_of(error: BaseException) -> str:
    """Why, in a few words."""
    return getattr(error, "strerror", None) or "not a path"


def shown(value: object) -> str:
    """Something foreign in a message: short, and on one line."""
    try:
        whole = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "a number far too large"
    return whole if len(whole) <= SHOWN else f"{whole[:SHOWN]} ..."


def read_text(content: Mapping[str, Any], key: str, longest: int, where: str) -> str:
    """A text of one line and so many characters. Raises PresetError."""
    text = content.get(key, "")
    if not isinstance(text, str) or len(text) > longest or not text.isprintable():
        raise PresetError(f"{where}: its {key} must be one line of at most {longest} characters, not {shown(text)}")
    return text


def read_values(content: object, where: str) -> tuple[dict[str, float], list[str]]:
    """The values of an object by id, and the ids that this program does not know. Raises PresetError."""
    if not isinstance(content, dict):
        raise PresetError(f"{where}: its values must be an object of numbers by id, not {shown(content)}")
    values, unknown = {}, []
    for id, value in content.items():
        if id not in TABLE:
            unknown.append(id)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise PresetError(f"{where}: {id} is {shown(value)}; it must be a number")
        else:
            try:
                values[id] = TABLE[id].check(value)
            except (ParameterError, ValueError):
                allowed = f"{TABLE[id].low:g} to {TABLE[id].high:g} {TABLE[id].unit}".strip()
                raise PresetError(f"{where}: {id} is {shown(value)}; allowed are {allowed}{whole(id)}") from None
    return values, unknown


def whole(id: str) -> str:
    """What else a value must be."""
    return ", whole numbers" if TABLE[id].curve in ("whole", "switch") else ""


# -- one preset --------------------------------------------------------------------------------------------------------
def load(path: Path) -> Preset:
    """The preset in a file; ids that this program does not know are skipped and noted. Raises PresetError."""
    content = read_json(path, MAX_BYTES, "a preset")
    name = read_text(content, "name", MAX_NAME, str(path)).strip()
    if not name:
        raise PresetError(f"{path}: it has no name; give it one")
    values, unknown = read_values(content.get("values"), str(path))
    notes = unknown_note(unknown)
    description = read_text(content, "description", MAX_DESCRIPTION, str(path))
    return Preset(name, description, Snapshot().replace(**values), notes)


def unknown_note(unknown: list[str]) -> tuple[str, ...]:
    """The ids that were skipped, in a sentence, if there are any."""
    if not unknown:
        return ()
    names = ", ".join(map(shown, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    return (f"Skipped, since this version does not know it: {names}",)


def save(path: Path, preset: Preset) -> None:
    """Write a preset with all of its values, whole or not at all. Raises PresetError."""
    if not preset.name.strip():
        raise PresetError("A preset needs a name; give it one")
    named = {"name": preset.name, "description": preset.description}
    for key, longest in (("name", MAX_NAME), ("description", MAX_DESCRIPTION)):
        read_text(named, key, longest, "Cannot save the preset")
    # All values: what sounds like this today shall do so when a default has changed.
    content = {"format": FORMAT, **named, "values": dict(preset.values)}
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n", "the preset")


# -- folders -----------------------------------------------------------------------------------------------------------
def user_folder() -> Path:
    """The user's own presets; the environment variable RTAE_PRESETS puts it elsewhere."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_data_path("rtae") / "presets"


def file_name(name: str) -> str:
    """A preset's name as a file's, on any system and within one folder. Raises PresetError if nothing is left of it.

    >>> file_name("../Glass: 1/2"), file_name("con")
    ('_Glass_ 1_2.json', 'con_.json')
    """
    text = unicodedata.normalize("NFC", name)
    text = UNSAFE.sub("_", "".join(c if c.isprintable() else "_" for c in text)).strip(" .")
    while len(text.encode()) > MAX_FILE_NAME:
        text = text[:-1].rstrip(" .")
    if not text:
        raise PresetError(f"{shown(name)} cannot name a preset; use some letters")
    if RESERVED.fullmatch(text):
        stem, dot, rest = text.partition(".")
        text = f"{stem}_{dot}{rest}"
    return text + SUFFIX


def save_own(preset: Preset, overwrite: bool = False) -> Path:
    """Write a preset to the user's folder, under its name; returns the file. Raises PresetError.

    overwrite: replace one of this name, or of a name whose file would be the same.
    """
    path = user_folder() / file_name(preset.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        exists = path.exists()
    except OSError as error:
        raise PresetError(f"{path.parent} cannot be used ({reason_of(error)}); set {FOLDER_VARIABLE}") from None
    if exists and not overwrite:
        raise PresetError(f"There is a preset in {path}; give another name, or allow to overwrite")
    save(path, preset)
    return path


def listing() -> tuple[list[Entry], list[str]]:
    """All presets by name, the program's before the user's; and a sentence for each file that cannot be used.

    A user's preset hides one of the program's that has the same name.
    """
    entries: dict[str, Entry] = {}
    problems = []
    for folder, own in ((FACTORY_FOLDER, False), (user_folder(), True)):
        for path in files_in(folder):
            try:
                entry = Entry(load(path), path, own)
            except PresetError as error:
                problems.append(str(error))
                continue
            entries[entry.preset.name.casefold()] = entry
    ordered = sorted(entries.values(), key=lambda entry: (entry.own, entry.preset.name.casefold()))
    return ordered, problems


def files_in(folder: Path) -> list[Path]:
    """The presets' files in a folder, none if it is missing or may not be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
    except OSError:
        return []


def named(name: str) -> Preset:
    """A preset by its name, in any case of letters; never a path. Raises PresetError, which lists what there is."""
    entries, _ = listing()
    for entry in reversed(entries):
        if entry.preset.name.casefold() == name.strip().casefold():
            return entry.preset
    there = ", ".join(entry.preset.name for entry in entries)
    raise PresetError(f"No preset {shown(name)}; there are {there or 'none'}")


def find(name: str) -> Preset:
    """A preset by its name, or by the path of its file. Raises PresetError."""
    try:
        return named(name)
    except PresetError:
        if name.lower().endswith(SUFFIX) or "/" in name or os.sep in name:
            return load(Path(name))
        raise
