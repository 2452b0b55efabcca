"""Each fault has a reason, is told to the user, and is mended once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recbole_clia
from recbole_clia import load_model
from recbole_clia.host import patches
from recbole_clia.host.patches import PATCHES, Patch, applied_patches, apply_patches

ROOT = Path(recbole_clia.__file__).resolve().parent.parent


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.name)
def test_the_readme_names_each_patch(patch: Patch) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| {patch.name} |" in readme
    assert patch.reason


def test_applying_again_applies_nothing() -> None:
    before = applied_patches()
    apply_patches()
    assert applied_patches() == before


def test_anomaly_mode_is_left_off() -> None:
    assert not torch.is_anomaly_enabled()


def test_aliases_that_recbole_reads_are_there() -> None:
    from recbole.config import Config

    Config.compatibility_settings(object())
    assert float is np.float64 or float(1) == 1


def test_the_stand_in_for_ray_does_not_outlive_its_purpose() -> None:
    """A user's own import of ray meets the installed ray, or its own error."""
    script = "import sys, recbole_clia; from recbole.quick_start import objective_function; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    ray_is_mended = any(patch.name == "ray" for patch in applied_patches())
    assert done.stdout.strip() == str(not ray_is_mended)


def test_a_graph_model_runs_on_todays_scipy(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    settings = {key: made[key] for key in ("data_path", "load_col", "show_progress", "state")}
    assert recbole_clia.run("LightGCN", "made", config_dict={**settings, "epochs": 1})["test_result"]


CATALOGUE = ["ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage", "ShannonEntropy"]


@pytest.mark.parametrize("metric", CATALOGUE)
def test_metrics_of_the_catalogue_are_reported(made: dict[str, Any], metric: str) -> None:
    result = recbole_clia.run("BPR", "made", config_dict={**made, "epochs": 1, "metrics": ["MRR", metric]})
    assert np.isfinite(result["test_result"][f"{metric.lower()}@10"])


def test_runs_of_the_same_second_have_files_of_their_own(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole.trainer.trainer.get_local_time", lambda: "now")
    files = {
        recbole_clia.run("FPMC", "made", config_dict={**made, "epochs": 1, "seed": n})["model_file"] for n in (1, 2)
    }
    assert len(files) == 2
    assert all(Path(file).is_file() and Path(file).name.startswith("FPMC-now-") for file in files)


def test_transrec_ranks_the_same_a_slab_at_a_time(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.data.interaction import Interaction

    model = load_model(recbole_clia.run("TransRec", "made", config_dict={**made, "epochs": 1})["model_file"])
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, model.n_items, (7, 5), generator=generator)
    length = torch.randint(1, 6, (7,), generator=generator)
    rows = Interaction({"user_id": torch.arange(1, 8), "item_id_list": items, "item_length": length})
    whole = model.full_sort_predict(rows)
    sizes = []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda self, user, *more: sizes.append(len(user)) or forward(self, user, *more)
    )
    monkeypatch.setattr(patches, "_SLAB_BYTES", 2 * 4 * model.item_embedding.weight.numel())
    assert torch.equal(model.full_sort_predict(rows), whole)
    assert sizes == [2, 2, 2, 1]
