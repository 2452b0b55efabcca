"""A plan of a search, and all that can be refused before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UsageError
from ..settings.check import LAUNCH_KEYS
from ..settings.config import PluginConfig
from .space import Space, read_space

PRUNE_AFTER = 5  # epochs: a slow learner often starts below the others

# What may differ between the machines and calls that work on one study.
NOT_OF_A_STUDY = {"data_path", "data_cache", "checkpoint_dir", "show_progress", "state", "device", "gpu_id", "use_gpu"}
NOT_OF_A_STUDY |= {"worker", "log_wandb", "wandb_project", "diagnosis_rows", "seed"}
# What belongs to a single run; whether it is packed is a setting of a trial as of any run.
_OF_A_RUN = LAUNCH_KEYS - {"packed"}


def sqlite(file: Path) -> str:
    """The storage that is this file."""
    return sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()


@dataclass(frozen=True)
class Plan:
    """What is searched, and where it is kept.

    Attributes:
        model, dataset: names, as RecBole knows them.
        storage: an SQLAlchemy URL such as ``sqlite:///tune/CLIA.sqlite``, or ``journal:FILE`` for a file that machines
            share.
        trials: finished trials that the study shall have, whoever made them.
        space_file: a user's search space, in place of the model's own.
        config_files, settings: what is fixed in all trials; what is set here is not searched.
        seed: of the sampler and of the training in every trial.
        seconds: no trial starts later than this after the start.
        prune_after: epochs before which no trial is given up.
        alone: whether the storage may hold no other study.
    """

    model: str
    dataset: str
    storage: str
    trials: int
    space_file: str | None = None
    config_files: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    seconds: float | None = None
    prune_after: int = PRUNE_AFTER
    alone: bool = True

    @property
    def name(self) -> str:
        """The study's name in its storage."""
        return f"{self.model}-{self.dataset}"

    @property
    def where(self) -> str:
        """The storage as messages name it, without a password."""
        try:
            name = sqlalchemy.make_url(self.storage).render_as_string(hide_password=True)
        except SQLAlchemyError:
            name = self.storage
        return f"study {name.removeprefix('sqlite:///')}"


@dataclass(frozen=True)
class Checked:
    """A plan that can be carried out."""

    plan: Plan
    space: Space
    config: PluginConfig

    @property
    def identity(self) -> dict[str, Any]:
        """What two calls must have in common to work on one study."""
        fixed = {k: v for k, v in self.config.external_config_dict.items() if k not in NOT_OF_A_STUDY | _OF_A_RUN}
        identity = {
            "model": self.plan.model,
            "dataset": self.plan.dataset,
            "metric": self.config["valid_metric"],
            "seed": self.plan.seed,
            "space": self.space.digest,
            "settings": fixed,
        }
        return dict(json.loads(json.dumps(identity, default=str, sort_keys=True)))


def check_plan(plan: Plan) -> Checked:
    """Everything that can be refused before a study is opened.

    Raises:
        UsageError: for a model, dataset, setting, space or number that is wrong.
    """
    taken = sorted(_OF_A_RUN & set(plan.settings))
    if taken:
        raise UsageError(f"tune: --{taken[0]} belongs to a single run; a trial is one process")
    config = PluginConfig(plan.model, plan.dataset, plan.config_files, {**plan.settings, "seed": plan.seed})
    space = read_space(plan.model, plan.space_file).without(config.external_config_dict)
    if config["epochs"] < 1 or config["eval_step"] < 1:
        raise UsageError("tune: a trial needs epochs and eval_step of at least 1, since it is scored on validation")
    return Checked(plan, space, config)
