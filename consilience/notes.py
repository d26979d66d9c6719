"""Small things that are kept in caches: each with its key, and a hash of both."""

import json
from pathlib import Path
from typing import Any

from consilience.errors import check_reached
from consilience.files import atomic, canonical_json, digest
from consilience.leftovers import discard_folder


def keep(path: Path, key: str, value: Any) -> None:  # noqa: ANN401
    """Writes a JSON-like value into a cache, with its key and a hash of both; see `kept`."""
    content = {"key": key, "value": value}
    with atomic(path, durable=False) as temporary:
        temporary.write_text(canonical_json({**content, "hash": digest(content)}), encoding="utf8")


def kept(path: Path, key: str) -> Any:  # noqa: ANN401
    """Returns what a cache holds under a key; None if it is absent, damaged or of another key."""
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        whole = {"key": key, "value": content["value"]}
        sound = content == {**whole, "hash": digest(whole)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        check_reached(error, path)
        sound = False
    if not sound:
        discard_folder(path)
        return None
    return content["value"]
