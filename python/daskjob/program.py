"""Where the program `daskjob` is, and what it is started with.

Knows paths and environment variables, nothing of Dask's classes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import sysconfig

import dask.config

logger = logging.getLogger("daskjob")

PROGRAM = "daskjob"
# Names a program that was built already, instead of the installed one.
PROGRAM_VARIABLE = "DASKJOB_BIN"

# What Dask hands its configuration on in, to processes that it starts.
INHERITED_CONFIGURATION = "DASK_INTERNAL_INHERIT_CONFIG"


class ProgramNotFound(FileNotFoundError):
    """The program is not installed, or not where it was said to be."""


def find() -> str:
    """The path of the program."""
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ProgramNotFound(
                f"{PROGRAM_VARIABLE}={named} is not an executable file; it is to name the program {PROGRAM}, "
                f"like target/release/{PROGRAM} of a checkout after `cargo build --release`"
            )
        return os.path.abspath(found)
    for directory in _directories():
        path = os.path.join(directory, PROGRAM)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    found = shutil.which(PROGRAM)
    if found is None:
        raise ProgramNotFound(
            f"the program {PROGRAM} is not installed beside this Python ({sys.executable}) nor on PATH: "
            f"`pip install .` in a checkout of daskjob brings it, or set {PROGRAM_VARIABLE} to one that was built"
        )
    return found


def _directories() -> list[str]:
    """Where installing this package may have put its program."""
    user_scheme = sysconfig.get_preferred_scheme("user")
    beside_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", scheme=user_scheme),
        os.path.join(beside_package, "bin"),  # pip install --target
    ]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment and configuration, for a program whose Python is to find the modules that this one finds."""
    variables = {name: value for name, value in os.environ.items() if not _is_overruled(name, value)}
    made = {**variables, **_configuration(), "PYTHONPATH": os.pathsep.join(_own_modules())}
    return {**made, **{name: str(value) for name, value in (extra or {}).items()}}


def _is_overruled(name: str, value: str) -> bool:
    """Whether this process's configuration says otherwise: in the program, the variable would count for more."""
    if not name.startswith("DASK_"):
        return False
    # As Dask makes keys of such names.
    known = dask.config.get(name.removeprefix("DASK_").lower().replace("__", "."), None)
    return known is not None and known != dask.config.interpret_value(value)


def _configuration() -> dict[str, str]:
    handed_on, left_out = _as_json(dask.config.global_config)
    if left_out:
        logger.warning("Dask's configuration is handed on without %s: no JSON can carry it", ", ".join(left_out))
    return {INHERITED_CONFIGURATION: dask.config.serialize(handed_on)}


def _as_json(values: dict, path: str = "") -> tuple[dict, list[str]]:
    """What JSON can carry, and the names of the rest."""
    kept, left_out = {}, []
    for name, value in values.items():
        if isinstance(value, dict):
            kept[name], more = _as_json(value, f"{path}{name}.")
            left_out += more
            continue
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            left_out.append(f"{path}{name}")
        else:
            kept[name] = value
    return kept, left_out


def _own_modules() -> list[str]:
    """Where this process looks for modules, without what every process of this interpreter looks through."""
    everyone = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths = [os.path.abspath(path) for path in sys.path if isinstance(path, str)]
    usual = tuple(os.path.join(path, "lib-dynload") for path in everyone)
    return [
        path
        for path in dict.fromkeys(paths)
        if path not in everyone and path not in usual and not _is_zip_of_stdlib(path)
    ]


def _is_zip_of_stdlib(path: str) -> bool:
    return os.path.basename(path) == f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
