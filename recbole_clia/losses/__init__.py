"""What is minimised: losses on tensors, which know nothing of the model or of RecBole."""

from .bpr import BPRLoss
from .contrastive import InterestContrastiveLoss
from .infonce import info_nce, same_class
from .sampled import sampled_log_probability, sampled_softmax
from .softmax import linear_cross_entropy, log_partition, mixture_cross_entropy

__all__ = [
    "BPRLoss",
    "InterestContrastiveLoss",
    "info_nce",
    "linear_cross_entropy",
    "log_partition",
    "mixture_cross_entropy",
    "same_class",
    "sampled_log_probability",
    "sampled_softmax",
]
