"""What a study found: its best trials, what mattered, a property file and a page."""

from __future__ import annotations

import html
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from .plan import NOT_OF_A_STUDY, Checked

LEAST_FOR_IMPORTANCE = 10  # complete trials


def best_trials(study: optuna.Study, number: int) -> list[FrozenTrial]:
    """The complete trials with the best scores, the earlier one first among equals."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return sorted(done, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))[:number]


def importances(study: optuna.Study) -> dict[str, float] | None:
    """The share of each property in the variance of the scores, largest first; ``None`` if that cannot be told.

    It is a functional analysis of variance of a random forest (Hutter et al., ICML 2014), over complete trials.
    """
    scores = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    if len(scores) < LEAST_FOR_IMPORTANCE or len(set(scores)) < 2:
        return None
    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (ValueError, RuntimeError):  # no property has varied
        return None
    return dict(found)


def best_settings(study: optuna.Study, checked: Checked) -> dict[str, Any]:
    """Every setting of the best trial that is not a default: what was fixed, what was drawn, and the seed.

    Raises:
        ValueError: if no trial is complete.
    """
    [best] = best_trials(study, 1)
    fixed = {k: v for k, v in checked.config.external_config_dict.items() if k not in NOT_OF_A_STUDY}
    for key in ("model", "dataset"):
        fixed.pop(key, None)
    return {**fixed, **checked.space.restored(best.params), "seed": checked.plan.seed}


def best_text(study: optuna.Study, checked: Checked) -> str:
    """The best trial as a property file for ``--config_files``."""
    [best] = best_trials(study, 1)
    metric, plan = checked.config["valid_metric"], checked.plan
    settings = best_settings(study, checked)
    found = checked.space.parameters
    lines = [f"# {plan.model} on {plan.dataset}: {metric} {best.value} on validation, trial {best.number}."]
    for title, keys in (
        ("Found by the search", [key for key in settings if key in found]),
        ("Fixed in all trials", [key for key in settings if key not in found]),
    ):
        lines += ["", f"# {title}", *(f"{key}: {_yaml(settings[key])}" for key in keys)]
    return "\n".join(lines) + "\n"


def write_best(study: optuna.Study, checked: Checked, path: Path) -> None:
    """Write :func:`best_text`."""
    path.write_text(best_text(study, checked), encoding="utf-8")


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=float("inf"), allow_unicode=True)
    return str(text).removesuffix("\n...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def write_page(study: optuna.Study, checked: Checked, path: Path) -> None:
    """Write the history, the curves, the slices and the importances as one page that needs no network."""
    draw = optuna.visualization
    metric = checked.config["valid_metric"]
    title = html.escape(f"{checked.plan.model} on {checked.plan.dataset}: {metric} on validation")
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            figures = [
                draw.plot_optimization_history(study, target_name=metric),
                draw.plot_intermediate_values(study),
                draw.plot_slice(study, target_name=metric),
            ]
            if importances(study) is not None:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
                figures.append(draw.plot_param_importances(study, evaluator=evaluator, target_name=metric))
    finally:
        optuna.logging.set_verbosity(level)
    parts = [figure.to_html(full_html=False, include_plotlyjs=i == 0) for i, figure in enumerate(figures)]
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n<h1>{title}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n",
        encoding="utf-8",
    )
