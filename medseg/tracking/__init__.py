"""One MLflow run for one training."""

import os

# No telemetry from a hospital's machine. MLflow reads this variable when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
