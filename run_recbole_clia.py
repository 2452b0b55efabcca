"""Train and evaluate a model, as RecBole's run_recbole.py does; CLIA on ml-100k by default."""

import sys

from recbole_clia.cli.main import run_train

if __name__ == "__main__":
    sys.exit(run_train(sys.argv[1:]))
