"""The tables of docs/published_resi.md, made of the published files; run it to write them anew."""

import re

import numpy as np
import pandas as pd
from clones import ROOT
from scipy.stats import spearmanr

from consilience.grounding.published import rank_source, read_published
from consilience.grounding.published.names import MEASURES
from consilience.grounding.published.tables import infer_design, on_grid

DATA = ROOT / "tests" / "data" / "resi_published"
PAGE = ROOT / "docs" / "published_resi.md"
GROUPSEP = DATA / "notebook_language_groupsep_by_ngroups.csv"
EARLY = DATA / "notebook_language_early_groupsep.csv"
OUTPUT = DATA / "notebook_language_output_correlation.csv"
TESTS = ("labels", "shortcuts", "augmentation")


def rates_of(path, *keys):
    """Returns {keys: {measure: violation rate}} of a table of group separation."""
    table = pd.read_csv(path).rename(columns={"quality_metric": "quality_measure", "mean": "value"})
    rows = table[table["quality_measure"].str.lower().str.replace(" ", "_") == "violation_rate"]
    return {key: dict(zip(part["similarity_measure"], part["value"], strict=True))
            for key, part in rows.groupby(list(keys))}  # fmt: skip


def average_ranks():
    """Returns published average ranks of correlations, and the same from the correlations."""
    table = pd.read_csv(OUTPUT)
    keys = ["functional_similarity_measure", "quality_measure"]
    known = table[table["table"] == "Average rank"].set_index(["similarity_measure", *keys])
    rows = table[table["table"] != "Average rank"]
    ranks = rows.groupby(["table", *keys])["value"].rank(ascending=False)
    found = rows.assign(rank=ranks).groupby(["similarity_measure", *keys])["rank"].mean()
    return known["value"], found.reindex(known.index)


def lines(header, rows):
    marks = " | ".join("---" for _ in header)
    return [
        f"| {' | '.join(header)} |",
        f"| {marks} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def names():
    return lines(
        ["ReSi", "in its figures", "ours", "what is to be known"],
        [[name, m.label, f"`{m.variant}`" if m.variant else "–", m.note] for name, m in
         MEASURES.items()],
    )  # fmt: skip


def designs():
    rows = []
    for path, keys in ((GROUPSEP, ("representation_dataset", "groups")),
                       (EARLY, ("setting", "dataset"))):  # fmt: skip
        for key, rates in rates_of(path, *keys).items():
            groups, models = infer_design(list(rates.values()))
            known = {name: rate for name, rate in rates.items() if np.isfinite(rate)}
            off = [name for name, rate in known.items() if not on_grid(rate, groups, models)]
            told = str(key[1]) if path == GROUPSEP else "–"
            runs = " ".join(map(str, key[:1] if told != "–" else key))
            rows.append([f"`{path.name}`", runs, told,
                         f"{groups} × {models}", str(len(known)), ", ".join(off)])  # fmt: skip
    header = ["file", "runs", "groups as told", "groups × models found", "rates", "off the grid"]
    return lines(header, rows)


def agreement():
    table = read_published(GROUPSEP).scores
    rows = []
    for (recipe, test), part in table[table["score"] == "auprc"].groupby(["recipe", "test"]):
        few, five = (p.set_index("name")["value"] for _, p in part.groupby(part["n_groups"] == 5))
        value = spearmanr(few, five[few.index], nan_policy="omit").statistic
        rows.append([recipe, test, str(part["n_groups"].min()), f"{value:.5f}"])
    return lines(["data", "test", "groups", "Spearman with 5 groups"], rows)


def separations():
    published = read_published(GROUPSEP)
    table = published.scores
    rows = table[(table["score"] == "auprc") & (table["n_groups"] < 5)]
    wide = rows.pivot_table(index="name", columns=["recipe", "test"], values=["value", "lift"])
    _, domains = rank_source([published])
    order = domains[domains["domain"] == "all"].sort_values(["mean_rank01", "name"])
    cases = [(recipe, test) for recipe in ("mnli", "sst2") for test in TESTS]
    chance = rows.groupby(["recipe", "test"])["chance"].first()
    found = [["*chance*", *(f"{chance[case]:.3f}" for case in cases), "", ""]]
    for row in order.to_dict("records"):
        cells = [wide.loc[row["name"]].get(("value", *case), np.nan) for case in cases]
        lifts = [wide.loc[row["name"]].get(("lift", *case), np.nan) for case in cases]
        place = "–" if pd.isna(row["place"]) else str(int(row["place"]))
        found.append([MEASURES[row["name"]].label,
                      *(f"{v:.2f}" if np.isfinite(v) else "" for v in cells),
                      f"{np.nanmean(lifts):.2f}", f"{row['mean_rank']:.1f} ({place})"])  # fmt: skip
    header = ["measure", *(f"{recipe} {test}" for recipe, test in cases), "mean lift",
              "mean rank (place)"]  # fmt: skip
    return lines(header, found)


def reranked():
    known, found = average_ranks()
    worst = (known - found).abs().max()
    return [f"{len(known)} average ranks, largest difference {worst:.0e}."]


BLOCKS = {"names": names, "designs": designs, "agreement": agreement, "separations": separations,
          "reranked": reranked}  # fmt: skip


def page():
    """Returns the page with its tables as they come out now."""
    text = PAGE.read_text(encoding="utf8")
    for name, make in BLOCKS.items():
        block = "\n".join(make())
        pattern = rf"(<!-- made: {name} -->\n).*?(<!-- made until here -->)"
        text, n = re.subn(
            pattern, lambda m, b=block: f"{m[1]}\n{b}\n\n{m[2]}", text, flags=re.DOTALL
        )
        assert n == 1, name
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf8")
