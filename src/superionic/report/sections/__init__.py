"""The sections of the report: one module a subject, with its figures, tables, CSV files, words and doubts."""
