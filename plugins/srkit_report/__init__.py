"""The report of `srkit bench`: a page that needs no other file, Markdown, and scores as CSV."""

import srkit


@srkit.hookimpl
def srkit_reports() -> dict[str, str]:
    """A page with tables, images and charts; the tables as Markdown; single scores as CSV."""
    return {
        "csv": "srkit_report.scores:write",
        "html": "srkit_report.page:write",
        "markdown": "srkit_report.page:write_markdown",
    }
