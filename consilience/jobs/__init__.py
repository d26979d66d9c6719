"""What makes the files of a job, one module for each kind of jobs of which one goes on with others.

A module is called like its script, which names it in quotes; its function `make` takes a job of
Snakemake, or what `consilience.together` puts in its place.
"""
