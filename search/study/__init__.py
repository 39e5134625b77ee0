"""One sweep as an Optuna study: created, claimed, controlled."""
