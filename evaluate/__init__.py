"""Metrics and pictures of arrays: knows no store, no model class and no trainer."""
