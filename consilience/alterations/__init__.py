"""Alterations: data changed by a known rule, for training and for derived datasets.

Labels are replaced (`labels`), the class is written onto stimuli (`shortcuts`), stimuli are varied
(`pictures`, `texts`, `graphs`), and samples are dealt to two sides with a known overlap (`splits`).
Functions take ids, labels, NumPy arrays, texts and edges, and know nothing of training.

All draws come from a seed, what is drawn, and the ids (`draws`): never from a position or an order,
so that a sample fares the same whatever other samples there are. Only a share is of all: of n
samples, the ⌊rate · n⌋ with the smallest number of their own. What a rate alters, every larger one
alters too, and in the same way.
"""
