"""How all pairs are computed: blocks of prepared forms, or one pass over tiles of rows."""
