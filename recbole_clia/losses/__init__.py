"""What is minimised: losses on tensors, which know nothing of the model or of RecBole."""

from .bpr import BPRLoss
from .contrastive import InterestContrastiveLoss
from .infonce import info_nce, same_class
from .logits import Background, Offsets, all_logits
from .precision import logits_dtype
from .sampled import sampled_log_probability, sampled_softmax
from .softmax import linear_cross_entropy, mixture_cross_entropy

__all__ = [
    "BPRLoss",
    "Background",
    "InterestContrastiveLoss",
    "Offsets",
    "all_logits",
    "info_nce",
    "linear_cross_entropy",
    "logits_dtype",
    "mixture_cross_entropy",
    "same_class",
    "sampled_log_probability",
    "sampled_softmax",
]
