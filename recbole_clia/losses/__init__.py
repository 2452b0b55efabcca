"""What is minimised: losses on tensors, which know nothing of the model or of RecBole."""

from .bpr import BPRLoss
from .contrastive import InterestContrastiveLoss
from .softmax import linear_cross_entropy

__all__ = ["BPRLoss", "InterestContrastiveLoss", "linear_cross_entropy"]
