"""What the window remembers from one time to the next: device, mode, model and knobs."""

from __future__ import annotations

import json
from typing import Any

from PySide6.QtCore import QSettings

from rtae.errors import ParameterError, RtaeError
from rtae.models.catalogue import find
from rtae.params import TABLE, Snapshot
from rtae.setup import MICROPHONE, Setup

SILENT = "silent"
NOT_KEPT = ("bypass", "difference", "freeze")  # a window that begins with one of these seems broken
KEPT = ("model", "output", "input", "mode", "hop", "follow_default", "guard")


def keep(settings: QSettings, setup: Setup, knobs: Snapshot) -> None:
    """Note them."""
    kept = {name: getattr(setup, name) for name in KEPT}
    if setup.output == SILENT:
        kept["output"] = None  # there may be a device the next time
    if setup.source == MICROPHONE:
        kept |= {"mode": Setup.mode, "hop": Setup.hop}
    settings.setValue("setup", json.dumps(kept))
    settings.setValue("knobs", json.dumps(dict(knobs)))


def first_setup(model: str | None, song: str, settings: QSettings | None = None) -> tuple[Setup, Snapshot]:
    """What the window begins with: what it ended with the last time, as far as that can be had. Raises ModelError."""
    kept, knobs = (read_kept(settings, name) for name in ("setup", "knobs"))
    try:
        known = {name: kept[name] for name in KEPT if name in kept and name != "model"}
        setup = Setup(model=str(find(model or str(kept.get("model") or "small"))), source=song, **known)
        if not (isinstance(setup.hop, int) and all(isinstance(x, str | None) for x in (setup.output, setup.input))):
            raise ParameterError("not what was kept")
    except (RtaeError, TypeError):
        setup = Setup(model=str(find(model or "small")), source=song)
    values = Snapshot()
    for id, value in knobs.items():
        if id in TABLE and isinstance(value, int | float) and id not in NOT_KEPT:
            values = values.replace(**{id: TABLE[id].nearest(float(value))})
    return setup, values


def read_kept(settings: QSettings | None, name: str) -> dict[str, Any]:
    """A JSON object among the settings; an empty one for anything else."""
    try:
        value = json.loads(str(settings.value(name, "{}"))) if settings is not None else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
