"""Networks: the divided space-time encoder, granularity fusion and pretrained weights."""
