"""``python -m recbole_clia`` is the ``recbole-clia`` command."""

import sys

from .cli.main import main

sys.exit(main())
