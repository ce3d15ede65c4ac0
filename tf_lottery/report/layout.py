"""The layout of a figure, solved once for all files that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def solve_layout(figure: Figure) -> None:
    """Lays a figure out, and keeps it so: to save it does not move it.

    A layout shifts a little each time it is solved, so that two saves of one
    figure would differ; and a figure that has a layout engine, even one that
    does nothing, is drawn twice for every file.

    Args:
        figure: any matplotlib figure; it loses its layout engine.

    Example:
        >>> from matplotlib.figure import Figure
        >>> figure = Figure(layout="constrained")
        >>> axes = figure.subplots()
        >>> solve_layout(figure)
        >>> figure.get_layout_engine() is None
        True
    """
    import matplotlib

    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # With neither, None is no engine; else it would be that of the settings.
    with matplotlib.rc_context({
        "figure.autolayout": False, "figure.constrained_layout.use": False,
    }):
        figure.set_layout_engine(None)
