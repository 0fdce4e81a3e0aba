"""The report: the only room that draws.

:func:`superionic.report.export.write_report` writes everything: the page, results.json, tables and figures.
"""
