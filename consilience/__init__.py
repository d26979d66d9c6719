"""How alike are the representations of two neural networks, and does it carry over?

The package is light to import: nothing here loads torch or a model library.
"""

__version__ = "0.1.0"
