"""The report of `srkit bench` as one HTML page that needs nothing beside it, and as Markdown."""

import srkit


@srkit.hookimpl
def srkit_reports() -> dict[str, str]:
    """A page with tables, images and charts, and the tables as Markdown."""
    return {"html": "srkit_report.page:write", "markdown": "srkit_report.page:write_markdown"}
