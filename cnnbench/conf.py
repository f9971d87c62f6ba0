"""Where the YAML groups are."""

from pathlib import Path


def conf_folder() -> Path:
    """Beside this file in an installed package, at the top in a source tree."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"
