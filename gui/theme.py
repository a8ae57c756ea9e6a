"""How the window looks: colours, sizes, and one style sheet. Everything that draws takes its colours from here."""

from __future__ import annotations

BACKGROUND = "#14161a"
PANEL = "#1b1e24"
RAISED = "#262b33"  # buttons, fields, the body of a knob
LINE = "#343b46"
TEXT = "#dde1e7"
DIM = "#929baa"  # labels and units; 6:1 on PANEL
DRY = "#7f8ea8"  # what goes in
WET = "#4fd1c5"  # what comes out; also whatever is on
SECOND = "#c792ea"  # source B
WARM = "#f0a94b"  # what moves by itself: automation, MIDI learn
ALERT = "#f2635c"  # clipping, dropouts, recording
SPACE = 8  # between things, in device-independent pixels
