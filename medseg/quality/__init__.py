"""Every gate and every warning about an input, and whether a result is plausible."""
