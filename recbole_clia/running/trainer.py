"""RecBole's trainer, with a record of each epoch and runs that can be stopped and resumed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.trainer import Trainer

from ..diagnosis.measures import summary
from ..errors import UsageError
from .time_limit import TimeLimited

# Settings that may differ between a stopped run and the one that resumes it.
MAY_CHANGE = {"epochs", "stopping_step", "checkpoint_dir", "show_progress", "state", "device", "gpu_id", "use_gpu"}
MAY_CHANGE |= {
    "data_path",
    "log_wandb",
    "wandb_project",
    "loss_decimal_place",
    "resume",
    "config_files",
    "diagnosis_rows",
    "train_seconds",
}


@dataclass(frozen=True)
class Epoch:
    """What one epoch did."""

    epoch: int
    train_loss: float
    train_seconds: float
    valid_score: float
    diagnosis: dict[str, float] = field(default_factory=dict)
    trained_seconds: float = 0.0  # of all epochs so far


class CLIATrainer(TimeLimited, Trainer):  # type: ignore[misc]
    """Adds to RecBole's trainer what a run needs to be continued bit for bit.

    Besides the best model (``saved_model_file``) it writes ``<name>.last.pth`` after each
    evaluated epoch, with the optimizer, the random states and the epochs so far.

    Attributes:
        history: one :class:`Epoch` for each evaluated epoch.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.history: list[Epoch] = []
        self._train_data: Any = None
        self._loader_state: torch.Tensor | None = None
        self._random_state: dict[str, Any] | None = None

    @property
    def last_file(self) -> str:
        """Where the state of the last evaluated epoch lies."""
        return str(Path(self.saved_model_file).with_suffix("")) + ".last.pth"

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> Any:
        self._train_data = train_data
        if self._loader_state is not None:
            train_data.generator.set_state(self._loader_state)
        if self._random_state is not None:
            _set_random_state(self._random_state)
            if saved:
                self._find_best_model()

        diagnosed = self._diagnosed_rows(valid_data or train_data)

        def after_epoch(epoch: int, valid_score: float) -> None:
            found = self._diagnose(diagnosed, epoch) if diagnosed is not None else {}
            loss = float(self.train_loss_dict[epoch])
            self.history.append(Epoch(epoch, loss, self.epoch_seconds, float(valid_score), found, self.trained_seconds))
            if saved:
                self._save_checkpoint(epoch, verbose=False, saved_model_file=self.last_file)
            if callback_fn is not None:
                callback_fn(epoch, valid_score)

        # Where no epoch is left, RecBole would write the last weights over the best ones.
        saved_by_host = saved and not (self._random_state is not None and self.start_epoch >= self.epochs)
        return super().fit(train_data, valid_data, verbose, saved_by_host, show_progress, after_epoch)

    @property
    def best_epoch(self) -> int | None:
        """The validated epoch whose weights are kept, also of a run that was resumed."""
        place = len(self.history) - 1 - self.cur_step
        return self.history[place].epoch if 0 <= place < len(self.history) else None

    def _find_best_model(self) -> None:
        """See that the best model of a stopped run is there; it is evaluated unless a later epoch is better."""
        best = Path(self.saved_model_file)
        if best.is_file():
            return
        if self.cur_step:
            raise UsageError(
                f"resume: {best.name}, the best model of the stopped run, is not in {best.parent}, beside the resumed "
                "file; copy it there too"
            )
        self._save_checkpoint(self.history[-1].epoch, verbose=False)  # the last epoch is the best one

    def _diagnosed_rows(self, data: Any) -> Any:
        """Histories spread over the data, of those that the contrast counts where there are any."""
        number, dataset = self.config["diagnosis_rows"], data._dataset
        if not number:
            return None
        length = dataset.inter_feat[self.config["ITEM_LIST_LENGTH_FIELD"]]
        long = (length > self.config["contrastive_length_threshold"]).nonzero().squeeze(1)
        index = long if len(long) else torch.arange(len(length))
        if not len(index):
            return None
        step = max(1, -(-len(index) // number))
        return dataset[index[::step].numpy()].to(self.device)

    @torch.no_grad()
    def _diagnose(self, rows: Any, epoch: int) -> dict[str, float]:
        """Measure, log and return what the interests are like after an epoch."""
        model: Any = getattr(self.model, "module", self.model)
        model.eval()
        found = summary(model.measure(rows))
        self.logger.info(
            f"epoch {epoch} diagnosis of {len(rows)} histories ["
            + ", ".join(f"{name}: {value:.3f}" for name, value in found.items())
            + "]"
        )
        for name, value in found.items():
            self.tensorboard.add_scalar(f"Diagnosis/{name}", value, epoch)
        return found

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        start_epoch = getattr(getattr(self.model, "module", self.model), "start_epoch", None)
        if start_epoch is not None:
            start_epoch(epoch_idx)
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)

    def _checkpoint_state(self, epoch: int) -> dict[str, Any]:
        fields = getattr(self.model, "size_fields", (self.config["USER_ID_FIELD"], self.config["ITEM_ID_FIELD"]))
        generator = self._train_data.generator  # RecBole takes it away when it saves the loaders
        state: dict[str, Any] = super()._checkpoint_state(epoch)
        state.update(
            best_valid_result=_plain(self.best_valid_result),
            best_model_file=os.path.basename(self.saved_model_file),
            history=[asdict(epoch) for epoch in self.history],
            trained_seconds=self.trained_seconds,
            random_state=_get_random_state(),
            loader_state=None if generator is None else generator.get_state(),
            sizes={field: self._train_data._dataset.num(field) for field in fields},
        )
        return state

    def resume_checkpoint(self, resume_file: str) -> None:
        """Continue where ``resume_file`` (``*.last.pth``) stopped, as if it had not.

        Raises:
            UsageError: if the file cannot be read, is of a run with other settings, or lies in another folder than a
                ``checkpoint_dir`` that was given.
        """
        checkpoint = read_checkpoint(resume_file)
        folder, asked = Path(resume_file).parent, self.config.external_config_dict.get("checkpoint_dir")
        if asked is not None and Path(asked).resolve() != folder.resolve():
            raise UsageError(
                f"resume: a resumed run writes beside its file, into {folder}, and not into checkpoint_dir = {asked}; "
                "leave that out"
            )
        old, new = checkpoint["config"].final_config_dict, self.config.final_config_dict
        for key in sorted((set(old) | set(new)) - MAY_CHANGE):
            if old.get(key) != new.get(key):
                raise UsageError(f"resume: {resume_file} was made with {key} = {old.get(key)}, not {new.get(key)}")
        if [epoch["epoch"] for epoch in checkpoint.get("history", ())][-1:] != [checkpoint["epoch"]]:
            raise UsageError(
                f"resume: {resume_file} holds the best model alone; a run goes on from the file *.last.pth beside it"
            )
        try:
            self.model.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:  # a line for each tensor
            raise UsageError(
                f"resume: {resume_file} is of other data or of another version; {str(error).splitlines()[-1].strip()}"
            ) from error
        self.model.load_other_parameter(checkpoint["other_parameter"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.cur_step = checkpoint["cur_step"]
        self.best_valid_score = checkpoint["best_valid_score"]
        self.best_valid_result = checkpoint["best_valid_result"]
        self.saved_model_file = str(Path(resume_file).with_name(checkpoint["best_model_file"]))
        self.history = [Epoch(**epoch) for epoch in checkpoint["history"]]
        self.trained_seconds = checkpoint["trained_seconds"]
        self._loader_state = checkpoint["loader_state"]
        self._random_state = checkpoint["random_state"]
        finished = self.cur_step > self.stopping_step
        self.start_epoch = self.epochs if finished else checkpoint["epoch"] + 1
        self.logger.info(f"Resuming {resume_file} at epoch {self.start_epoch}")


def read_checkpoint(path: str, device: Any = "cpu", trust_pickle: bool = False) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Args:
        path: a file that the plugin, or RecBole with the plugin imported, has written.
        device: where its tensors go.
        trust_pickle: open a file that RecBole wrote without the plugin. It is a pickle that can
            run any code, so only for files from a source you trust.

    Raises:
        UsageError: if there is no such file, or it holds more than data.
    """
    try:
        checkpoint = torch.load(path, map_location=device, weights_only=not trust_pickle)
    except OSError as error:
        raise UsageError(f"checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # torch reports a damaged or refused file by several types
        if "weights_only" in str(error) and "Unsupported" in str(error):
            raise UsageError(
                f"checkpoint {path}: it is a pickle that could run code; open it with trust_pickle=True "
                "only if you trust where it comes from"
            ) from error
        raise UsageError(f"checkpoint {path}: it is damaged or no checkpoint") from error
    if not isinstance(checkpoint, dict) or not {"config", "state_dict"} <= set(checkpoint):
        raise UsageError(f"checkpoint {path}: it holds no model")
    return checkpoint


def _plain(result: Any) -> Any:
    return None if result is None else {key: float(value) for key, value in result.items()}


def _get_random_state() -> dict[str, Any]:
    state: Any = np.random.get_state()  # noqa: NPY002  RecBole draws from the global generator
    name, keys, position, has_gauss, gauss = state
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])
