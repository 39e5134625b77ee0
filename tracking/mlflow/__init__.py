"""MLflow as a mirror of a study, its registry and its server."""
