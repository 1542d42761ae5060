"""The HTTP service: uploads become jobs, whose states and results are told to who may know."""
