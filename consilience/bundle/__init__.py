"""Results to hand on: a small bundle of tables that another lab can read, check and merge.

A bundle is a folder or a zip of Parquet tables with `manifest.json`: schema version, study
(settings and the rows of models, datasets and metrics) and the SHA-256 of every table. Stimuli,
weights and features stay at home. Reading executes nothing.
"""

from consilience.bundle.archive import SCHEMA, Bundle, open_bundle, write_bundle
from consilience.bundle.merge import Merged, merge_bundles

__all__ = ["SCHEMA", "Bundle", "Merged", "merge_bundles", "open_bundle", "write_bundle"]
