"""Training, evaluation and tracking: the only package that imports ignite and mlflow."""
