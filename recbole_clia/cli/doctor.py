"""``recbole-clia doctor``: can the main job run here, and with what?"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from tabulate import tabulate

PACKAGES = ("recbole-clia", "recbole", "torch", "numpy", "pandas", "pyarrow", "scipy", "setuptools", "ray")
TESTED_RECBOLE = "1.2.1"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="say what is installed, what was mended, and whether a run would work")
    parser.set_defaults(run=doctor)


def doctor(_arguments: argparse.Namespace) -> int:
    import torch

    from .. import host
    from ..losses.precision import multiplies_bfloat16
    from ..settings.properties import PROPERTIES_DIR

    versions: list[list[str]] = [[name, _version(name) or "not installed"] for name in PACKAGES]
    print(tabulate([["python", platform.python_version()], *versions], headers=["package", "version"]))

    bfloat16 = "multiplies" if multiplies_bfloat16(torch.device("cpu")) else "does not multiply"
    devices = [["cpu", f"{torch.get_num_threads()} threads, {bfloat16} bfloat16 itself"]]
    devices += [[f"cuda:{i}", torch.cuda.get_device_name(i)] for i in range(torch.cuda.device_count())]
    print("\n" + tabulate(devices, headers=["device", ""]))

    mended = [[patch.name, patch.reason, patch.thread] for patch in host.applied_patches()]
    print("\n" + tabulate(mended, headers=["mended in RecBole", "because", "reported"], maxcolwidths=[None, 72, None]))

    places: list[list[object]] = [
        ["property files", PROPERTIES_DIR],
        ["datasets", f"{Path('dataset').resolve()} (data_path), ml-100k inside the recbole package"],
        ["models", f"{Path('saved').resolve()} (checkpoint_dir)"],
    ]
    print("\n" + tabulate(places, headers=["place", "looked for in"]))

    faults = find_faults()
    print("\n" + ("\n".join(f"fault: {fault}" for fault in faults) or "The main job can run here."))
    return 1 if faults else 0


def find_faults() -> list[str]:
    """Each reason, in one sentence, why the main job could not run here."""
    import recbole

    from ..errors import UsageError
    from ..settings.config import PluginConfig
    from ..settings.properties import PROPERTIES_DIR

    faults = []
    if recbole.__version__ != TESTED_RECBOLE:
        faults.append(f"recbole {recbole.__version__} is installed, and only {TESTED_RECBOLE} is known to work")
    pandas = _version("pandas") or "0"
    if int(pandas.split(".")[0]) >= 3:
        faults.append(f"pandas {pandas} makes RecBole's filling of missing values do nothing; install 'pandas<3'")
    if not (PROPERTIES_DIR / "model/CLIA.yaml").is_file():
        faults.append(f"there is no property file {PROPERTIES_DIR / 'model/CLIA.yaml'}; install the package again")
        return faults
    try:
        config = PluginConfig("CLIA", "ml-100k", config_dict={"state": "ERROR"})
        if not (Path(config["data_path"]) / "ml-100k.inter").is_file():
            faults.append(f"ml-100k is not in {config['data_path']}; install recbole again")
    except UsageError as error:
        faults.append(str(error))
    return faults


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
