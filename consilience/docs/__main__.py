"""Writes the generated pages: `python -m consilience.docs`."""

import sys

from consilience.docs import write
from consilience.errors import ConsilienceError

try:
    write()
except ConsilienceError as error:
    sys.exit(str(error))
