"""`python -m consilience.cli`: the command without an installed script."""

import sys

from consilience.cli import main

sys.exit(main())
