"""The stages, each named by a verb: a stage turns settings and inputs into tasks, and their outcomes into a result."""
