"""The entries of config/citations.bib."""

import re
from pathlib import Path

from consilience.config import ROOT
from consilience.errors import ConfigError

BIBLIOGRAPHY = ROOT / "config" / "citations.bib"


def read_bibliography(path: Path = BIBLIOGRAPHY) -> dict[str, str]:
    """Returns {key: BibTeX entry}.

    Raises:
        ConfigError: an entry's braces do not match, or a key stands twice.
    """
    entries: dict[str, str] = {}
    for text in re.split(r"(?m)^(?=@)", path.read_text(encoding="utf8"))[1:]:
        entry = re.sub(r"(?m)^%.*\n?", "", text).strip()
        found = re.match(r"@\w+\{([^\s,{}]+),", entry)
        if not found or entry.count("{") != entry.count("}") or not entry.endswith("}"):
            raise ConfigError(f"{path.name}: braces or key are wrong in {entry.splitlines()[0]!r}")
        if found[1] in entries:
            raise ConfigError(f"{path.name}: the key {found[1]!r} stands twice; drop one entry")
        entries[found[1]] = entry
    return entries


def reference(key: str, entries: dict[str, str], metric: str) -> tuple[str, str]:
    """Returns the title with its link, and the BibTeX entry, of the paper of a metric.

    Raises:
        ConfigError: there is no such entry.
    """
    if key not in entries:
        raise ConfigError(
            f"metric {metric!r} cites {key!r}, which has no entry in config/citations.bib; add it"
        )
    fields = dict(re.findall(r"(?m)^\s*(\w+)\s*=\s*[{\"](.*)[}\"],?\s*$", entries[key]))
    title = re.sub(r"[{}]", "", fields.get("title", key)).replace(" -- ", " – ")
    links = {"doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/", "url": ""}
    for field, place in links.items():
        if field in fields:
            title = f"[{title}]({place}{fields[field]})"
            break
    return f"{title} ({fields.get('year', 'no year')})", entries[key]
