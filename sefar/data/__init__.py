"""Clips: annotations, label scopes, decoding, sampling, views and batches."""
