"""One MLflow run for one training."""

import os

# A hospital's machine tells nobody what it does. MLflow reads this when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
