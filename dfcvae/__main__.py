"""``python -m dfcvae`` is ``dfcvae``."""

import sys

from dfcvae.cli import main

if __name__ == "__main__":
    sys.exit(main())
