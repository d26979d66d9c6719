"""How all pairs of models are compared: where a value is made, and what it is called on the way.

Five words are enough to read this folder.

- An *item* is what is compared: one layer of one model, known by the hash of its content and loaded
  when it is needed (`similarity.task.Item`; in `alignment` a model with all its layers is one).
- The *task* says what is computed of two items: the metric, what is done to features before it, the
  null, the labels (`similarity.task.Task`). With both hashes and the code, it decides a value.
- A *form* is what a metric makes of one item, once, so that a pair costs little: a vector over
  pairs of samples, neighbour lists, principal axes (`similarity.task.Form`). For many samples it is
  a `forms.tiles.TileForm`, of which entries are made when a tile asks for them.
- A *tile* is a block of the plane sample × sample. Where a matrix over all pairs of samples would
  not fit into memory, all models fill one tile after another, and only sums over it are kept.
- An *outcome* is what is known of a pair at the end: value and null, or why there is none
  (`similarity.store.Outcome`). The pair store keeps outcomes between runs.

A table is made like this. `similarity.items` reads from the features manifest what there is to
compare, `similarity.store` says which pairs are known, and `blocks.fill_store` computes the others,
in one of two ways.

By pairs (`blocks.fill_by_pairs`), for all metrics: forms are prepared by several threads, once if
the memory allows and else in blocks, every two are compared, and the store is written now and then.
`alignment` runs in the same loop, with other items and outcomes.
Where the engine has a device, it makes ahead, for a batch of pairs at once, what metrics of
rotations need of two forms (`device_pairs`): `polar` finds nuclear norms and polar factors by
products alone and proves each. What is not proven is computed here, so that values agree to 1e-6.

In one tiled pass, for inner products over pairs of samples from 2,048 samples on: `tiled` makes of
each item a `tiles.TileModel`, in memory, in scratch files, or, of metrics that take ranks, from the
shelf (`similarity.shelf`). `tiles.tiled_sums` walks the tiles of all models at once and returns the
product of every two and the row sums of each; `forms.tiles.CENTRINGS` says how these become
centred products and the moments of the null, and `Task.tiled_outcome` divides them by the norms.
So a tiled CKA value is the quotient in `Task.tiled_outcome`; its entries are those of the metric's
`tile_form`. `device.sums_on_device` is the same pass on a device of PyTorch, with tiles of another
size: its values agree to the precision of float32, not in every digit.

Where samples come in groups (`Task.groups`), pairs within one do not count: forms leave them out,
and tiles have 0 there (`forms.tiles.centring_of` says how the rest is centred). The null then
permutes whole groups (`permuted`): of forms, or pass by pass of models whose rows stand in another
order.

What decides bytes, and is never changed for speed alone: the size of tiles and the lengths of sums
in `tiles`, which depend on the number of samples alone, and the order of the arguments
(`blocks.ordered`). So no value depends on threads, memory, other models or earlier runs.

`sharing` lets metrics that are made of the same products or neighbour lists make them once
(`blocks.fill_together`): the values are those that each has alone.
"""
