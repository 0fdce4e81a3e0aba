"""The report of a campaign, and the only package that draws figures.

:func:`superionic.report.export.write_report` writes all of it: the page, results.json, tables and figures.
"""
