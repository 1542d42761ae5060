"""Training, evaluation and tracking: the only package that imports ignite and mlflow."""

import os

# A hospital's machine tells nobody what it does. MLflow reads this when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
