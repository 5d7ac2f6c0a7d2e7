"""The report of `srkit bench` as one HTML page that needs nothing beside it."""

import srkit


@srkit.hookimpl
def srkit_reports() -> dict[str, str]:
    """A page with tables, images and charts."""
    return {"html": "srkit_report.page:write"}
