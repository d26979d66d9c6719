"""The page on families of networks that were tried."""

import re

from clones import ROOT

PAGE = (ROOT / "docs" / "families.md").read_text(encoding="utf8")
ROW = re.compile(
    r"^\| ([^|]+) \| ([^|]+) \| (right|refused|failed|wrong) \| (.+) \|$", re.MULTILINE
)


def sections():
    timm, transformers = (part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
    return {"timm": ROW.findall(timm), "transformers": ROW.findall(transformers)}


def test_many_families_were_tried_and_none_is_wrong():
    found = sections()
    known = {
        library: [row for row in rows if row[2] in ("right", "refused")]
        for library, rows in found.items()
    }
    assert len({tried for _, tried, _, _ in known["timm"]}) >= 150
    assert len({family for family, *_ in known["transformers"]}) >= 60
    assert not [row for rows in found.values() for row in rows if row[2] == "wrong"]


def test_a_refusal_says_why():
    refused = [row for rows in sections().values() for row in rows if row[2] == "refused"]
    assert refused and all(len(text.split()) > 5 for *_, text in refused)


def test_the_page_names_versions():
    assert re.search(r"timm \d+\.\d+\S*, transformers \d+\.\d+\S*,\s+torch \d+", PAGE)
