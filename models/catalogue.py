"""Where models are: beside this file those that are shipped, in the user's data folder their own, or any folder.

A folder of somebody else's becomes one of the user's models by `import_model`, which takes nothing in it on trust.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from itertools import count
from pathlib import Path

from platformdirs import user_data_path

from rtae.errors import ModelError
from rtae.presets import RESERVED
from rtae.spec import (
    CARD_FILE,
    DECODER_FILE,
    ENCODER_FILE,
    LINEAR_FILE,
    PAPER_FOLDER,
    PRIOR_FILE,
    PRIOR_NETWORK_FILE,
    SPEC_FILE,
    ModelSpec,
)

FOLDER_VARIABLE = "RTAE_MODELS"
CHECKPOINT_FILE = "checkpoint.safetensors"
REMOVED = "removed"  # the folder, among the user's models, of those that were removed
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_NAME = 64
MEGABYTE = 1 << 20
# What belongs to a model, with the most bytes that each file may have; whatever else is in the folder stays there.
NEEDED = {SPEC_FILE: 16 * MEGABYTE, ENCODER_FILE: 512 * MEGABYTE, DECODER_FILE: 512 * MEGABYTE}
OPTIONAL = {
    CARD_FILE: 4 * MEGABYTE,
    LINEAR_FILE: 64 * MEGABYTE,
    CHECKPOINT_FILE: 2048 * MEGABYTE,
    PRIOR_FILE: 16 * MEGABYTE,
    PRIOR_NETWORK_FILE: 512 * MEGABYTE,
    **{f"{PAPER_FOLDER}/{name}": most for name, most in NEEDED.items()},
}
# A process of its own, as a malicious or broken model may crash or hang onnxruntime, and as this file must not need it.
TRIAL = """
import sys
from pathlib import Path
from rtae.errors import RtaeError
from rtae.runtime import OnnxModel
try:
    OnnxModel.load(Path(sys.argv[1]))
except RtaeError as error:
    sys.exit("Error: " + str(error))
"""
TRIAL_SECONDS = 60.0


def shipped_folder() -> Path:
    """The models that come with the program."""
    return Path(__file__).parent


def user_folder() -> Path:
    """The user's own models; the environment variable RTAE_MODELS puts it elsewhere."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_data_path("rtae") / "models"


def available() -> dict[str, Path]:
    """Folders of all models by name; a user's model hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in (shipped_folder(), user_folder()):
        if folder.is_dir():
            paths = (path.parent for path in sorted(folder.glob(f"*/{SPEC_FILE}")))
            found.update({path.name: path for path in paths if not path.name.startswith(".")})  # being written
    return found


def find(name: str) -> Path:
    """The folder of a model, by its name or its path. Raises ModelError, which lists what there is."""
    models = available()
    if name in models:
        return models[name]
    path = Path(name)
    if name and (path / SPEC_FILE).is_file():
        return path
    if name and path.is_dir():
        raise ModelError(f"{path} holds no model: there is no {SPEC_FILE} in it")
    there = f"there are {', '.join(sorted(models))}" if models else "there are none"
    raise ModelError(f"No model {name!r}; {there}. Export one with: rtae export RUN --name {path.name or 'NAME'}")


# -- models from elsewhere ---------------------------------------------------------------------------------------------
def check_name(name: str) -> None:
    """Raise ModelError where it cannot name a model, here or on any other system."""
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name) or name.endswith(".") or name.lower() == REMOVED:
        shown = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "..."
        raise ModelError(
            f"{shown!r} cannot name a model: use up to {LONGEST_NAME} letters, digits, dots, dashes and underscores, "
            "and no word that the system keeps for itself"
        )


def possible_name(wanted: str) -> str:
    """A name for a model that resembles this text.

    >>> possible_name("my songs (2)"), possible_name("../.."), possible_name("con")
    ('my-songs-2', 'model', 'model-con')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted)[: LONGEST_NAME - 8].strip("-._") or "model"
    return f"model-{name}" if RESERVED.fullmatch(name) or name.lower() == REMOVED else name


def free_name(wanted: str) -> str:
    """A possible name that no model has: this one, or with -2, -3, ... after it."""
    name, taken = possible_name(wanted), {name.lower() for name in available()}
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(each for each in names if each.lower() not in taken and not os.path.lexists(user_folder() / each))


def import_model(source: Path) -> Path:
    """Copy a model's folder to the user's own models: its folder there, named after the old one.

    The copy appears whole or not at all, after its checksums were compared and it has run once in another process; it
    never takes another model's place. Takes seconds. Raises ModelError.
    """
    try:
        source = source.resolve()
        if source.is_file() and source.name == SPEC_FILE:
            source = source.parent
        if source.parent in (shipped_folder().resolve(), user_folder().resolve()) and (source / SPEC_FILE).is_file():
            raise ModelError(f"{source} is one of the models here already: {source.name}")
        check_folder(source)
        user_folder().mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: symbolic links in a circle
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{source} cannot be imported ({getattr(error, 'strerror', None) or error})") from None
    beside = user_folder() / f".{uuid.uuid4().hex}.part"
    try:
        beside.mkdir()
        for name, most in (NEEDED | OPTIONAL).items():
            if name in NEEDED or (source / name).is_file():
                (beside / name).parent.mkdir(exist_ok=True)
                copy_file(source / name, beside / name, most)
        check_sums(beside, source)
        try_model(beside, source)
        return take_name(beside, source.name)
    except OSError as error:
        raise ModelError(f"{source} cannot be copied to {user_folder()} ({error.strerror})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_folder(source: Path) -> None:
    """Raise ModelError, in words, where a folder does not look like a model."""
    if not source.is_dir():
        raise ModelError(f"{source} is not a folder; choose the folder that a model's {SPEC_FILE} is in")
    if not (source / SPEC_FILE).exists():
        inner = sorted(path.parent.name for path in source.glob(f"*/{SPEC_FILE}"))[:5]
        hint = f"; choose one of the folders in it: {', '.join(inner)}" if inner else ""
        raise ModelError(f"{source} holds no model: there is no {SPEC_FILE} in it{hint}")
    for name, most in NEEDED.items():
        check_file(source / name, most)
    ModelSpec.load(source)


def check_networks(folder: Path) -> None:
    """Raise ModelError where a model's networks are missing, or are not those of its model.json; reads them whole."""
    try:
        for name in NEEDED:
            check_file(folder / name, NEEDED[name])
        check_sums(folder, folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror}); export or copy the model again") from None


def check_file(path: Path, most: int) -> None:
    """Raise ModelError unless it is a plain file (a pipe would be waited for) of at most so many bytes."""
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); export or copy the whole model again") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a file; export or copy the whole model again")
    if status.st_size > most:
        raise ModelError(f"{path} is larger than {most // MEGABYTE} MB, which no model of this program has")


def copy_file(source: Path, target: Path, most: int) -> None:
    """The bytes alone, without rights or times."""
    check_file(source, most)
    with source.open("rb") as given, target.open("xb") as out:
        shutil.copyfileobj(given, out, MEGABYTE)


def check_sums(folder: Path, named: Path) -> None:
    """Raise ModelError where the networks are not those that model.json describes. named: the folder in messages."""
    spec = ModelSpec.load(folder)
    for name in (ENCODER_FILE, DECODER_FILE):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while block := file.read(MEGABYTE):
                digest.update(block)
        if digest.hexdigest() != spec.files[name]:
            raise ModelError(
                f"{named / name} is not the file that {SPEC_FILE} describes (its checksum differs): it was changed, "
                "cut short or swapped; export or copy the whole model again"
            )


def try_model(folder: Path, named: Path) -> None:
    """Load and run a model once, in another process. Raises ModelError. named: the folder in messages."""
    folder = folder.resolve()
    command = [sys.executable, "-c", TRIAL, str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, timeout=TRIAL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{named} does not run: it was given up after {TRIAL_SECONDS:.0f} s") from None
    if done.returncode == 0:
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = next((line for line in lines if line.startswith("Error: ")), "")
    if not said:
        raise ModelError(f"{named} does not run: it ends the program that tries it ({(lines or ['no word'])[-1]})")
    raise ModelError(said.removeprefix("Error: ").replace(str(folder), str(named)))


def take_name(beside: Path, wanted: str) -> Path:
    """Give a folder its final name, one that is free. Raises OSError."""
    for _ in range(100):
        target = user_folder() / free_name(wanted)
        try:
            beside.rename(target)
            return target
        except OSError:
            if not os.path.lexists(target):  # or else somebody was faster
                raise
    raise FileExistsError(f"no name is free beside {wanted}")


def remove_model(folder: Path) -> Path:
    """Move one of the user's own models into the folder `removed`: where it is now. Raises ModelError."""
    if folder.resolve().parent != user_folder().resolve() or not (folder / SPEC_FILE).is_file():
        raise ModelError(f"{folder} is not one of your own models; only those can be removed")
    bin = user_folder() / REMOVED
    names = (folder.name if number == 1 else f"{folder.name}-{number}" for number in count(1))
    target = next(bin / name for name in names if not os.path.lexists(bin / name))
    try:
        bin.mkdir(exist_ok=True)
        folder.rename(target)
    except OSError as error:
        raise ModelError(f"{folder} cannot be moved to {bin} ({error.strerror})") from None
    return target
