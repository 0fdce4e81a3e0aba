"""The stages, one verb each: a stage turns settings and inputs into tasks, and their outcomes into a result."""
