"""recbole_clia: next-item recommendation by long- and short-term interests told apart, for RecBole.

Importing this package mends RecBole where today's Python stack broke it, and enters the
plugin's models in RecBole's tables: ``run_recbole(model="CLIA", dataset="ml-100k")`` works then.
"""

from . import host
from .version import __version__ as __version__

host.activate()

from .converters.frames import from_pandas  # noqa: E402
from .losses import BPRLoss, InterestContrastiveLoss  # noqa: E402
from .models.clia import CLIA  # noqa: E402
from .models.clsr import CLSR  # noqa: E402
from .nn.proxies import long_term_proxy, short_term_proxy  # noqa: E402
from .running.checkpoint import load_model  # noqa: E402
from .running.quick_start import run  # noqa: E402

__all__ = [
    "CLIA",
    "CLSR",
    "BPRLoss",
    "InterestContrastiveLoss",
    "from_pandas",
    "load_model",
    "long_term_proxy",
    "run",
    "short_term_proxy",
]
