"""What the training panel says about a training."""

from __future__ import annotations

from rtae.jobs import Order, Status

WELCOME = "Choose a folder of songs, or drop one here, and press Start. A tenth of them is held out to measure on."


def duration(seconds: float) -> str:
    """Roughly, in words.

    >>> duration(42.3), duration(754), duration(7500)
    ('42 s', '12 min', '2 h 5 min')
    """
    if seconds < 60:
        return f"{max(0.0, seconds):.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def words_of(status: Status, order: Order | None) -> str:
    """What is going on, in a sentence or two."""
    name = order.name if order else ""
    if status.error:
        return status.error + ("" if status.error.endswith(".") else ".")
    if status.stopping:
        return "Stopping; a checkpoint is kept ..."
    if status.state == "training":
        speed = f", {status.steps_per_second:.1f} steps a second" if status.steps_per_second else ""
        loss = f", loss {status.losses[-1][1]:.3f}" if status.losses else ""
        return f"Training {name}: step {status.step}{speed}{loss}."
    if status.state == "cancelled":
        more = (
            "Resume goes on from there; Export makes a model of it as it is."
            if status.resumable
            else "Nothing is kept."
        )
        return f"Stopped: {name}, at step {status.step}. {more}"
    return {
        "preparing": f"Training {name}: reading the songs ...",
        "exporting": f"Making a model of {name}, and checking it ...",
        "done": f"Done: the model {name} is ready to play.",
    }.get(status.state, WELCOME)


def found_words(status: Status) -> str:
    """What the folder held."""
    found = status.found
    if found is None:
        return ""
    first = f"{found.files} songs, {found.minutes:.1f} minutes" + (
        f"; {found.skipped} skipped" if found.skipped else ""
    )
    return "\n".join([first, *found.reasons])
