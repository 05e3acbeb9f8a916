"""The command line and the batch jobs: the one room that joins recipes, stores and reports."""
