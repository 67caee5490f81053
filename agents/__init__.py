"""Who acts: policies, readers of the context, the transformer."""
