"""How large bytes are, raw and compressed."""

from __future__ import annotations

import gzip
import importlib.util


def sizes(data: bytes) -> dict[str, int | None]:
    """Returns the sizes of a file, as it is and as it would be sent.

    Args:
        data: the file's content.

    Returns:
        Bytes: `raw`; `gzip` at level 9; and `zstd` at level 19, None where
        the package zstandard is not installed.

    Example:
        >>> sizes(bytes(1000))["raw"], sizes(bytes(1000))["gzip"] < 50
        (1000, True)
    """
    zstd = None
    if importlib.util.find_spec("zstandard"):
        import zstandard

        zstd = len(zstandard.ZstdCompressor(level=19).compress(data))
    return {
        "raw": len(data),
        # Without the time of writing: equal files, equal sizes.
        "gzip": len(gzip.compress(data, 9, mtime=0)),
        "zstd": zstd,
    }
