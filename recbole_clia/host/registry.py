"""Enter the plugin's models in RecBole's tables, so that RecBole finds them by name.

RecBole resolves every name again wherever it needs it, so an entry has four parts: the model's
module, its trainer, its dataset, and the loader of packed training rows.  The dataset is offered to RecBole's
own models too, and packed training to some of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..settings.check import MODELS, PACKED_BASELINES, PACKED_PROPERTIES, check_packed
from ..settings.properties import COMMON_PROPERTIES, PROPERTIES_DIR

LENGTH = "MAX_ITEM_LIST_LENGTH"
# What saved data are made by, besides what RecBole looks at: a dataset, which keeps its settings, and its loaders.
_DATA_KEYS = (
    *("exact_time", "time_unit", "duplicate_rows", "encoding", "lazy_augmentation", "packed"),
    *("eval_args", "split_period_seconds", "sampled_groups"),
)


def register() -> None:
    """Make RecBole's entry points take the plugin's models; a second call does nothing."""
    import recbole.data.dataset
    import recbole.data.utils
    import recbole.model.sequential_recommender as sequential
    import recbole.quick_start.quick_start as quick_start
    import recbole.trainer
    import torch
    from recbole.config import Config
    from recbole.utils import get_model
    from recbole.utils.argument_list import dataset_arguments

    from ..data.dataset import LogDataset
    from ..models import clia, clsr, packed
    from ..running.trainer import CLIATrainer
    from ..settings.config import PluginConfig
    from .metrics import offer_sampled_groups
    from .workers import run_recboles

    if getattr(recbole.trainer, "CLIATrainer", None) is CLIATrainer:
        return
    # get_model("CLIA") asks for recbole.model.sequential_recommender.clia
    for name, module in zip(MODELS, (clia, clsr), strict=True):
        sys.modules[f"{sequential.__name__}.{name.lower()}"] = module
        setattr(sequential, name.lower(), module)
        setattr(recbole.data.dataset, f"{name}Dataset", LogDataset)
        setattr(recbole.trainer, f"{name}Trainer", CLIATrainer)
    quick_start.run_recboles = run_recboles
    _offer_packed_loader(recbole.data.utils, recbole.data)
    for name in PACKED_BASELINES:
        _offer_packed(get_model(name), packed.PACKED[name])
    _offer_packed(recbole.trainer.Trainer, CLIATrainer)
    offer_sampled_groups()
    _offer_datasets(recbole.data.dataset)
    # A dataset that was saved is taken up again if what RecBole lists here is the same.
    dataset_arguments.extend(key for key in _DATA_KEYS if key not in dataset_arguments)
    _add_property_files(Config)
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals([PluginConfig])  # what the checkpoints of the plugin's runs hold


def _offer_packed_loader(utils: Any, package: Any) -> None:
    from ..data.loader import PackedTrainDataLoader

    host_get_dataloader = utils.get_dataloader

    def get_dataloader(config: Any, phase: str) -> type:
        if phase == "train" and config["packed"]:
            check_packed(config["model"], config["loss_type"])
            return PackedTrainDataLoader
        return host_get_dataloader(config, phase)

    utils.get_dataloader = get_dataloader
    package.get_dataloader = get_dataloader


def _offer_packed(host: Any, ours: type) -> None:
    """Where RecBole makes its class for a model of its own that is set to be packed, make the plugin's extension of it.

    RecBole finds a class by its name before it has the settings, and its methods call each other by that name, so it is
    the class itself that looks at them.
    """

    def new(cls: type, config: Any = None, *_others: Any, **_named: Any) -> Any:  # a copy is made without one
        asked = cls is host and config is not None and config["model"] in PACKED_BASELINES and config["packed"]
        return object.__new__(ours if asked else cls)

    host.__new__ = staticmethod(new)


def _offer_datasets(datasets: Any) -> None:
    """Give a model of RecBole's that has no dataset of its own the plugin's, where its settings ask for it.

    RecBole looks its two datasets up by name whenever it makes one; a class that extends either is left alone.
    """
    from recbole.utils import ModelType

    from ..data.dataset import LogDataset
    from ..data.loading import GeneralDataset

    def has_log(config: Any) -> bool:
        return config["MODEL_TYPE"] == ModelType.SEQUENTIAL and bool(
            config["exact_time"] or config["lazy_augmentation"] or config["packed"]
        )

    def has_columns(config: Any) -> bool:
        return config["MODEL_TYPE"] in (ModelType.GENERAL, ModelType.TRADITIONAL) and bool(config["exact_time"])

    def offer(host: type, ours: type, wanted: Any) -> type:
        class Offered(type):
            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, host) if cls is offered else super().__instancecheck__(instance)

        def new(cls: type, config: Any = None) -> Any:  # a copy is made without one
            if cls is not offered or config is None:
                return object.__new__(cls)
            made = (ours if wanted(config) else host)(config)  # what is saved is of a class that is found again
            made.saved_as = host.__name__
            return made

        names = {"__new__": new, "__doc__": host.__doc__, "__module__": host.__module__}
        offered = Offered(host.__name__, (host,), names)
        return offered

    datasets.SequentialDataset = offer(datasets.SequentialDataset, LogDataset, has_log)
    datasets.Dataset = offer(datasets.Dataset, GeneralDataset, has_columns)


def _add_property_files(config_class: Any) -> None:
    """Read the plugin's yaml files where RecBole would read its own of that name.

    RecBole reads overall, model, sample and dataset, in this order, and skips what is missing;
    overall.yaml and sample.yaml are always there.
    """
    host_update = config_class._update_internal_config_dict

    def _update_internal_config_dict(self: Any, file: str) -> Any:
        result = host_update(self, file)
        name = Path(file).name
        packed = self.model in PACKED_BASELINES and self.external_config_dict.get("packed") is True
        plugins_own = getattr(self, "plugins_own", False)
        if name == "overall.yaml" and (self.model in MODELS or plugins_own or packed):
            host_update(self, str(COMMON_PROPERTIES))
        if name == "overall.yaml" and self.model in PACKED_BASELINES and (plugins_own or packed):
            host_update(self, str(PACKED_PROPERTIES))
        if name == "overall.yaml" and packed:
            self.internal_config_dict["train_neg_sample_args"] = None
        if name == "overall.yaml" and self.model in MODELS:
            host_update(self, str(PROPERTIES_DIR / "model" / f"{self.model}.yaml"))
            _complete_negatives(self)
            self.own_length = self.internal_config_dict.get(LENGTH)
        own_length = getattr(self, "own_length", None)
        if own_length is not None:
            # RecBole's files of datasets repeat its general 50, which is no property of the data.
            self.internal_config_dict[LENGTH] = own_length
        if name == "sample.yaml":
            ours = PROPERTIES_DIR / "dataset" / f"{self.dataset}.yaml"
            if ours.is_file():
                host_update(self, str(ours))
            if own_length is not None:
                self.own_length = self.internal_config_dict[LENGTH]
        return result

    config_class._update_internal_config_dict = _update_internal_config_dict


def _complete_negatives(config: Any) -> None:
    """Say RecBole's ``train_neg_sample_args`` in the plugin's settings: its models draw their negatives themselves."""
    given = config.external_config_dict
    arguments = given.get("train_neg_sample_args")
    config.internal_config_dict["train_neg_sample_args"] = None
    if not isinstance(arguments, dict):
        return  # nothing, or refused with the other values
    if arguments.get("distribution") == "none":
        given["train_neg_sample_args"] = None
        return
    if config.model == "CLIA" and given.get("loss_type", config.internal_config_dict["loss_type"]) == "CE":
        raise UsageError("train_neg_sample_args: loss_type CE takes no negatives; leave them out, or set BPR")
    unknown = set(arguments) - {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"}
    distribution = arguments.get("distribution", "uniform")
    if unknown or distribution not in ("uniform", "popularity"):
        wrong = f"no key {sorted(unknown)[0]!r}" if unknown else f"no distribution {distribution!r}"
        raise UsageError(
            f"train_neg_sample_args: it has {wrong}; its keys are distribution (uniform or popularity), sample_num, "
            "alpha, dynamic and candidate_num"
        )
    said = {
        "negative_sampling": "hard" if arguments.get("dynamic") else distribution,
        "negative_num": arguments.get("sample_num", 1),
        "popularity_exponent": arguments.get("alpha", 1.0),
    }
    if arguments.get("dynamic"):
        said["negative_pool"] = arguments.get("candidate_num", 1)
    for key, value in said.items():
        given.setdefault(key, value)
    given["train_neg_sample_args"] = None
