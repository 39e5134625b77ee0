"""The databases: where they are, their locks, their health."""
