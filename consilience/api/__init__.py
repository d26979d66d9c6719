"""What `import consilience as cs` offers: models, features, comparisons, results and figures.

All of it is in `consilience.api.offered`. Everything is handed over to the rooms that the workflow
uses, so values are those of its tables.
"""
