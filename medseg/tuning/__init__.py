"""Search for the parameters of a method that score best on the validation split."""
