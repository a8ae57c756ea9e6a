"""The panels beside the pictures: tabs of one place, that can be dragged out, put elsewhere, and back."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QWidget

RIGHT = Qt.DockWidgetArea.RightDockWidgetArea
USUAL_WINDOW, USUAL_WIDTH = 1280, 736  # pixels: of a window, and of the panels in it; they get half of what is added
LEAST_WIDTH = 672  # with which all knobs are in sight
LEAST_PICTURES = 300


def usual_width(window: int) -> int:
    """Of the panels in a window of that width.

    >>> usual_width(1280), usual_width(1920), usual_width(1024)
    (736, 1056, 672)
    """
    return max(USUAL_WIDTH + (window - USUAL_WINDOW) // 2, min(LEAST_WIDTH, window - LEAST_PICTURES))


class Docks(QObject):
    """A dock for each panel, by its name. One that stands among tabs has no title bar: the tab is its title."""

    def __init__(self, window: QMainWindow, panels: Mapping[str, QWidget]) -> None:
        super().__init__(window)
        self.window = window
        self.by_name: dict[str, QDockWidget] = {}
        for name, panel in panels.items():
            dock = QDockWidget(name, window)
            dock.setObjectName(name.lower())
            dock.setWidget(panel)
            dock.setFeatures(
                QDockWidget.DockWidgetFeature.DockWidgetMovable | QDockWidget.DockWidgetFeature.DockWidgetFloatable
            )
            self.by_name[name] = dock
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.put_back()
        # What is tabbed with what is known only after Qt has done its part.
        self.settling = QTimer(self, singleShot=True, interval=0)
        self.settling.timeout.connect(self._titles)
        for dock in self.by_name.values():
            dock.topLevelChanged.connect(lambda _: self.settling.start())
            dock.dockLocationChanged.connect(lambda _: self.settling.start())

    def put_back(self) -> None:
        """All of them to the right, one behind the other."""
        first, *others = self.by_name.values()
        for dock in (first, *others):
            dock.setFloating(False)
            self.window.addDockWidget(RIGHT, dock)
            dock.show()
        for dock in others:
            self.window.tabifyDockWidget(first, dock)
        first.raise_()
        self.usual()
        self._titles()

    def usual(self) -> None:
        """As wide as is usual in a window of this width."""
        first = next(iter(self.by_name.values()))
        self.window.resizeDocks([first], [usual_width(self.window.width())], Qt.Orientation.Horizontal)

    def follow(self, before: int, now: int) -> None:
        """The window was that wide, and is this wide now: pictures and panels both get their part of it."""
        for dock in self.by_name.values():
            beside = self.window.dockWidgetArea(dock) in (RIGHT, Qt.DockWidgetArea.LeftDockWidgetArea)
            if beside and not dock.isFloating() and not dock.visibleRegion().isEmpty():
                wanted = usual_width(now) + dock.width() - usual_width(before)
                self.window.resizeDocks([dock], [wanted], Qt.Orientation.Horizontal)
                return

    def _titles(self) -> None:
        for dock in self.by_name.values():
            tabbed = not dock.isFloating() and bool(self.window.tabifiedDockWidgets(dock))
            if tabbed == (dock.titleBarWidget() is None):
                dock.setTitleBarWidget(QWidget(dock) if tabbed else None)
