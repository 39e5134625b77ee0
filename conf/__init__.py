"""Configs: values only; their shape is defined in search.config.schema."""
