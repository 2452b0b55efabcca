"""Train, evaluate and report one model on one dataset."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from time import perf_counter
from traceback import extract_tb
from typing import Any

import torch
import torch.multiprocessing as mp
from recbole.data import create_dataset, data_preparation
from recbole.data.transform import construct_transform
from recbole.utils import get_flops, get_model, get_trainer, init_logger, init_seed
from torch.multiprocessing.spawn import ProcessRaisedException

from ..errors import Diverged, Stopped, UsageError
from ..settings.config import PluginConfig, describe_evaluation
from .time_limit import limited
from .trainer import CLIATrainer


def run(
    model: str | type = "CLIA",
    dataset: str = "ml-100k",
    config_file_list: Sequence[str] | str | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    nproc: int = 1,
    world_size: int = -1,
    ip: str = "localhost",
    port: str = "5678",
    group_offset: int = 0,
    resume: str | None = None,
    test: bool = True,
    callback: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train a model with early stopping on validation, and evaluate the best one on test.

    Like ``recbole.quick_start.run``, for the plugin's models and RecBole's own, with three
    differences: it does not read ``sys.argv``, it checks keys and values before it starts, and it
    returns more.

    Args:
        model, dataset: names, as RecBole knows them; for the model also its class.
        config_file_list: yaml files of settings, the later ones winning, or one.
        config_dict: settings that win over the files.
        saved: whether to write the best model; without it the last one is evaluated.
        nproc, world_size, ip, port, group_offset: processes here and in all, as in RecBole.
        resume: a ``*.last.pth`` file of a stopped run to be continued.
        test: whether the best model is evaluated on test; ``test_result`` is empty without it.
        callback: called with each validated epoch, counted from 0, and its validation score; what it raises ends
            the run.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and ``model``, ``dataset``, ``evaluation``, ``best_epoch``, ``epochs``,
        ``curve`` (epoch, training seconds so far and validation score of each validated epoch), ``diagnosis`` (what
        was measured of the interests after the best epoch; empty for models that have none),
        ``seconds_per_epoch`` (training only), ``seconds``, ``parameters``, ``model_file``, ``log_file``.

    Raises:
        UsageError: for bad input, before anything is trained.
        Diverged: if the loss is no number any more.
        Stopped: if the user interrupts it; it names the file to continue from.
    """
    model = model.__name__ if isinstance(model, type) else model
    config = PluginConfig(model, dataset, config_file_list, config_dict)  # refuses bad input before any process starts
    for name, number in {"nproc": nproc, "world_size": world_size, "group_offset": group_offset}.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise UsageError(f"{name} must be a whole number, not {number!r}")
    if nproc < 1:
        raise UsageError(f"nproc must be at least 1, not {nproc}")
    if 0 < world_size < nproc + group_offset:
        raise UsageError(
            f"world_size: {world_size} processes in all are fewer than the {nproc} here (nproc) after group_offset "
            f"{group_offset}"
        )
    if nproc == 1 and world_size <= 0:
        return _run_here(config, saved, resume, test, callback)
    if resume:
        raise UsageError("resume: a run of several processes cannot be resumed")
    if callback or not test:
        raise UsageError("nproc: a run that is watched or leaves out the test set takes one process")
    queue = mp.get_context("spawn").SimpleQueue()
    launch = {
        "nproc": nproc,
        "world_size": nproc if world_size == -1 else world_size,
        "ip": ip,
        "port": str(port),
        "offset": group_offset,
    }
    settings = {**(config_dict or {}), **launch}
    try:
        mp.spawn(  # type: ignore[attr-defined]
            _worker, args=(model, dataset, config_file_list, settings, saved, queue), nprocs=nproc, join=True
        )
    except ProcessRaisedException as error:  # it holds a worker's traceback, as text
        _, told, sentence = str(error).strip().splitlines()[-1].partition("UsageError: ")
        if told:
            raise UsageError(sentence) from error
        raise
    result: dict[str, Any] = {} if queue.empty() else queue.get()
    return result


def _worker(
    rank: int,
    model: str,
    dataset: str,
    files: Sequence[str] | str | None,
    settings: dict[str, Any],
    saved: bool,
    queue: Any,
) -> None:
    config = PluginConfig(model, dataset, files, {**settings, "local_rank": rank})
    result = _run_here(config, saved, None)
    if rank == 0:
        queue.put(result)
    gc.collect()  # a distributed model that outlives its process group aborts the process
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _run_here(
    config: PluginConfig,
    saved: bool,
    resume: str | None,
    test: bool = True,
    callback: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    began = perf_counter()
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    logger = getLogger()
    logger.info(" ".join(sys.argv))
    logger.info(config)
    config.log_remarks()

    dataset, train_data, valid_data, test_data = _load(config)

    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with _told_of_data(config):
        model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    logger.info(model)
    if len(dataset) > 1:  # RecBole counts the operations of the second row, and draws random numbers doing so
        try:
            get_flops(model, dataset, config["device"], logger, construct_transform(config))
        except (AssertionError, NotImplementedError):
            logger.info("the operations of this model cannot be counted")
    with _told_of_data(config):
        trainer = limited(get_trainer(config["MODEL_TYPE"], config["model"]), config["train_seconds"])(config, model)
    clock = _EpochClock(trainer, callback)
    if resume:
        if not isinstance(trainer, CLIATrainer):
            raise UsageError(
                f"resume: {config['model']} is trained in RecBole's loop, which cannot be continued; "
                "the plugin's models and those trained packed can"
            )
        trainer.resume_checkpoint(resume)
        clock.go_on_from(trainer)

    try:
        with _told_of_data(config):
            best_score, best_valid = trainer.fit(
                train_data, valid_data, saved=saved, show_progress=config["show_progress"], callback_fn=clock.evaluated
            )
    except KeyboardInterrupt as stop:
        last = getattr(trainer, "last_file", None)
        raise Stopped(last if last and os.path.isfile(last) else None) from stop
    except ValueError as error:
        if "loss is nan" not in str(error):
            raise
        raise Diverged(_diverged(clock.epochs, config)) from error
    finally:
        if getattr(trainer, "tensorboard", None) is not None:
            trainer.tensorboard.close()  # each holds a thread and a file
    tested: Mapping[str, Any] = {}
    if test:
        tested = trainer.evaluate(test_data, load_best_model=saved, show_progress=config["show_progress"])
    logger.info(f"best valid: {best_valid}")
    logger.info(f"test result: {tested}")
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "evaluation": describe_evaluation(config),
        "best_valid_score": best_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": best_valid,
        "test_result": tested,
        "best_epoch": clock.best_epoch,
        "epochs": clock.epochs,
        "curve": clock.curve,
        "diagnosis": _diagnosis(trainer, clock.best_epoch),
        "seconds_per_epoch": clock.seconds_per_epoch,
        "seconds": perf_counter() - began,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "model_file": trainer.saved_model_file if saved else None,
        "log_file": _log_file(logger),
    }


def _diverged(epochs: int, config: Any) -> str:
    return (
        f"the training loss is no number any more after {epochs} whole epochs; a smaller learning_rate than "
        f"{config['learning_rate']} may help"
    )


@contextmanager
def _told_of_data(config: PluginConfig) -> Iterator[None]:
    """One sentence where a model of RecBole's asks for a field or a package that is not there."""
    model = config["model"]
    try:
        yield
    except ImportError as error:
        what = f"the package {error.name}, which is not installed" if error.name else f"more than is here: {error}"
        raise UsageError(f"model {model} and its settings need {what}") from error
    except KeyError as error:
        name, raised_in = error.args[0] if error.args else "", extract_tb(error.__traceback__)[-1].filename
        if not isinstance(name, str) or "recbole" not in Path(raised_in).parts:
            raise
        raise UsageError(
            f"model {model} reads the field {name!r}, which the loaded data do not have; name it in load_col, with the "
            "settings of the model that choose its fields, or set threshold for a label"
        ) from error
    except ValueError as error:
        if "not defined" not in str(error):
            raise
        raise UsageError(f"model {model}: {error}; name it in load_col, or in the settings of the model") from error


def _diagnosis(trainer: Any, epoch: int | None) -> dict[str, float]:
    return next((one.diagnosis for one in getattr(trainer, "history", ()) if one.epoch == epoch), {})


def _load(config: PluginConfig) -> tuple[Any, Any, Any, Any]:
    """The dataset and its three loaders.

    Raises:
        UsageError: if too little is left of the data for a model to be trained and ranked.
    """
    name = config["dataset"]
    nothing = UsageError(
        f"{Path(config['data_path']) / name}.inter: all histories are too short, and nothing is left to train on; "
        "a user counts with more interactions than are held out, and one before them"
    )
    try:
        dataset = create_dataset(config)
        getLogger().info(dataset)
        train_data, valid_data, test_data = data_preparation(config, dataset)
    except UsageError:
        raise
    except KeyError as error:
        raise UsageError(
            f"dataset {name!r}: its settings name '{error.args[0]}', which is no field that is loaded"
        ) from error
    except ValueError as error:
        # RecBole's loader of no rows fails in torch's sampler.
        raise nothing if "num_samples" in str(error) else UsageError(f"dataset {name!r}: {error}") from error
    if len(train_data._dataset) == 0:
        raise nothing
    held_out = sum(len(loader._dataset) for loader in (valid_data, test_data) if loader is not None)
    if "LS" in (config["eval_args"]["split"] or ()) and not held_out and not config["benchmark_filename"]:
        raise UsageError(
            f"{Path(config['data_path']) / name}.inter: all histories are too short, and nothing is left to validate "
            "or test on; a user counts with three interactions"
        )
    if max(config["topk"]) >= dataset.item_num:
        raise UsageError(f"topk: {max(config['topk'])} is more than the {dataset.item_num - 1} items of {name!r}")
    return dataset, train_data, valid_data, test_data


class _EpochClock:
    """Times the training part of every epoch, and sees which epoch was best, for any trainer."""

    def __init__(self, trainer: Any, callback: Callable[[int, float], None] | None = None) -> None:
        self._callback = callback
        self.seconds: list[float] = []
        self.best_epoch: int | None = None
        self.curve: list[dict[str, float]] = []
        self.epochs = self._epochs_before = 0
        self._before = 0.0  # seconds of training before a run was stopped
        self._trainer = trainer
        self._train_epoch = trainer._train_epoch
        trainer._train_epoch = self._timed

    def go_on_from(self, trainer: CLIATrainer) -> None:
        """Know the epochs before a run was stopped."""
        self.best_epoch, self._before = trainer.best_epoch, trainer.trained_seconds
        self.curve = [
            {"epoch": one.epoch, "train_seconds": one.trained_seconds, "valid_score": one.valid_score}
            for one in trainer.history
        ]
        self.epochs = self._epochs_before = trainer.history[-1].epoch + 1 if trainer.history else 0

    def _timed(self, train_data: Any, epoch: int, *args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        losses = self._train_epoch(train_data, epoch, *args, **kwargs)
        self._refuse_what_is_no_number(epoch)
        self.seconds.append(perf_counter() - began)
        self.epochs = epoch + 1
        return losses

    def _refuse_what_is_no_number(self, epoch: int) -> None:
        """A ranking by scores that are no numbers has figures like any other."""
        sums = [parameter.detach().sum().float() for parameter in self._trainer.model.parameters()]
        if sums and torch.stack(sums).isnan().any():
            raise Diverged(_diverged(epoch, self._trainer.config))

    def evaluated(self, epoch: int, score: float) -> None:
        if self._trainer.cur_step == 0:
            self.best_epoch = epoch
        so_far = self._before + sum(self.seconds)
        self.curve.append({"epoch": epoch, "train_seconds": so_far, "valid_score": float(score)})
        if self._callback is not None:
            self._callback(epoch, score)

    @property
    def seconds_per_epoch(self) -> float | None:
        epochs = self._epochs_before + len(self.seconds)
        return (self._before + sum(self.seconds)) / epochs if epochs else None


def _log_file(logger: Any) -> str | None:
    files = [handler.baseFilename for handler in logger.handlers if hasattr(handler, "baseFilename")]
    return os.path.relpath(Path(files[0])) if files else None
