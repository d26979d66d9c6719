# One rule for every registered figure, called plot_ and the name of the figure.
for figure in PLAN.figures:

    rule:
        """One figure of a study, with the table that it shows."""
        name:
            f"plot_{figure.name}"
        input:
            **figure.inputs(PLAN, RESULTS),
        output:
            **figure.further(RESULTS),
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
            grouping=PLAN.distribution_pattern,
        priority: -1  # where all tables are there, one job can go on with the figures of others
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=PLAN.growing(2000),
            runtime=PLAN.growing(30),
        params:
            figure=figure.name,
            said=lambda wc, figure=figure: figure.said(PLAN, "".join(wc)),
            caption=figure.caption,
            code=PLAN.code("plots", figure.module),
        script:
            "../workflow/scripts/plots.py"

    workflow.get_rule(f"plot_{figure.name}").docstring = figure.summary


rule all_plots:
    """All figures."""
    input:
        PLAN.drawn,
