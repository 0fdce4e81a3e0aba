"""The sections of the report: one module per subject, with its figures, tables, CSV files, text and doubts."""
