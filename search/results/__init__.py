"""What came of a study: fronts, reports, exports, measurements, MLflow."""
