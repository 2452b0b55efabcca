"""What a trial draws: a tree-structured Parzen estimator that a stop does not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

RANDOM_TRIALS = 10  # before the sampler models what is good


class SeededTPE(optuna.samplers.BaseSampler):
    """A tree-structured Parzen estimator that draws by the seed and by how many trials there were before.

    So a study that was stopped and continued draws what it would have drawn without the stop, and two workers with one
    seed do not draw the same.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._sampler = self._at(0)

    def _at(self, place: int) -> optuna.samplers.TPESampler:
        seed = int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            constant_liar=True,  # others are being tried at the same time
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._at(place_of(study, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def place_of(study: optuna.Study, number: int) -> int:
    """How many trials before this one have not failed."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.number < number and trial.state != TrialState.FAIL for trial in trials)
