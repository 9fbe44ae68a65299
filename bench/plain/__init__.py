"""Functions to compare with. Each file is served by functions-framework as it stands."""
