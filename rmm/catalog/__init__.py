"""Finds, validates and bundles `collectors/`. What a collector means is `rmm.core.normalize`'s business."""
