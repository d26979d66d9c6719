import re
from types import SimpleNamespace

from consilience.code import code_of, code_of_script
from consilience.plots import FIGURES, targets
from consilience.plots._stand_in import Results

# What a study makes, until consilience/config/plan.py says it.
GROUP = SETTINGS["plots"]["group"] or next(
    iter(SETTINGS["consistency"]["groups"]), None
)
DISTRIBUTIONS = {column: (column, None) for column in CONSISTENCY["groups"]}
if CONSISTENCY["sets"]:
    DISTRIBUTIONS["set"] = ("set", None)
if CONSISTENCY["anchors"]:
    DISTRIBUTIONS |= {
        f"anchor_{column}": ("anchor", column) for column in CONSISTENCY["groups"]
    } or {"anchor": ("anchor", None)}
RESULTS = Results()
PLAN = SimpleNamespace(
    study=STUDY,
    settings=SETTINGS,
    group=GROUP,
    group_columns=list(
        filter(None, dict.fromkeys([GROUP, *SETTINGS["consistency"]["groups"]]))
    ),
    grouped=bool(
        CONSISTENCY["groups"] or CONSISTENCY["sets"] or CONSISTENCY["anchors"]
    ),
    distributions=DISTRIBUTIONS,
    labelled=LABELLED,
    probed=bool(PROBE_FILES),
    halved=HALVED,
    paired=[
        d
        for d in STUDY.datasets
        if SETTINGS["alignment"]["metrics"]
        and pairs_across(ALIGNED[d], STUDY.models_on[d])
    ],
    curve_datasets=CURVES["datasets"] or list(STUDY.datasets),
    curve_metrics=CURVE_METRICS if SENSITIVITIES else [],
)
PLOT_SCRIPT = Path(workflow.basedir, "workflow", "scripts", "plots.py")


# One rule for every registered figure, called plot_ and the name of the figure.
for figure in FIGURES.values():

    rule:
        """One figure of a study, with the table that it shows."""
        name:
            f"plot_{figure.name}"
        input:
            **figure.inputs(PLAN, RESULTS),
        output:
            svg=f"{figure.stem(RESULTS)}.svg",
            pdf=f"{figure.stem(RESULTS)}.pdf",
            png=report(
                f"{figure.stem(RESULTS)}.png",
                caption="../workflow/report/figure.rst",
                category=figure.category,
                labels=figure.labels,
            ),
            csv=f"{figure.stem(RESULTS)}.csv",
        log:
            f"{figure.record('logs', RESULTS)}.log",
        benchmark:
            f"{figure.record('benchmarks', RESULTS)}.tsv"
        wildcard_constraints:
            # The ends of such names may hold any sign of a column.
            grouping="|".join(map(re.escape, PLAN.distributions)),
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=scaled(2000),
            runtime=scaled(30),
        params:
            figure=figure.name,
            stem=lambda wc, output: output.png.removesuffix(".png"),
            said=lambda wc, figure=figure: figure.said(PLAN, "".join(wc)),
            caption=figure.caption,
            code=[code_of_script(PLOT_SCRIPT), code_of(figure.module)],
        script:
            "../workflow/scripts/plots.py"

    workflow.get_rule(f"plot_{figure.name}").docstring = figure.summary


rule all_plots:
    """All figures."""
    input:
        targets(PLAN, RESULTS),
