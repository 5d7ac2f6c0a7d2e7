"""The page: gradio's tabs, with panels of our own where gradio has nothing that fits."""

from __future__ import annotations

import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from srkit import __version__, plugins, registry
from srkit.hookspecs import kinds
from srkit_ui.catalogue import TEMPLATES, Catalogue

HEAD = """<link rel="stylesheet" href="srkit/static/ui.css">
<script type="module" src="srkit/static/ui.js"></script>
<meta name="color-scheme" content="light dark">"""
NO_RUN = "There is no run yet: srkit train writes them into runs/."
NO_REPORT = "There is no report here, nor one or two folders down: srkit bench --report writes one."


def add_to(app: FastAPI, catalogue: Catalogue) -> None:
    """Add the page to an application."""

    def report(key: str) -> str:
        folder = catalogue.reports().get(key, "")
        return TEMPLATES.get_template("report.html").render(key=key, folder=folder)

    with gr.Blocks(title="srkit", analytics_enabled=False) as page:
        _html("start")
        with gr.Tabs():
            for name in ("upscale", "compare"):
                with gr.Tab(name.capitalize()):
                    _html(name)
            with gr.Tab("Train"):
                _chosen(page, "Run", catalogue.runs, catalogue.run, NO_RUN, every=3)
            with gr.Tab("Report"):
                _chosen(page, "Report", catalogue.reports, report, NO_REPORT)
            with gr.Tab("Plugins"):
                parts = {registry.singular(kind): registry.offers(kind) for kind in kinds()}
                _html("plugins", plugins=plugins.load().plugins, kinds=parts, version=__version__)
    page.queue(max_size=64, default_concurrency_limit=4, api_open=False)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    closed = dict.fromkeys(("run_history", "show_error", "ssr_mode", "mcp_server"), False)
    gr.mount_gradio_app(app, page, "/", theme=theme, head=HEAD, footer_links=[], **closed)
    app.add_middleware(_Started, page)


class _Started:
    """ASGI middleware that starts gradio's queue: no lifespan does where the page is mounted."""

    def __init__(self, app: ASGIApp, page: Any) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.page.is_running:
            self.page.run_startup_events()
        await self.app(scope, receive, send)


def _html(name: str, **values: Any) -> None:
    text = TEMPLATES.get_template(f"{name}.html").render(**values)
    gr.HTML(text, js_on_load=None, apply_default_css=False)


def _chosen(page: Any, label: str, listed: Any, show: Any, nothing: str, every: float = 0) -> None:
    """Show what is chosen from a list, and again as time goes by."""

    def look(key: str | None) -> tuple[Any, str]:
        known = [(str(folder), key) for key, folder in listed().items()]
        keys = [key for _, key in known]
        key = key if key in keys else next(iter(keys), None)  # whatever a client sends
        choices = gr.Dropdown(choices=known, value=key, allow_custom_value=True)
        return choices, show(key) if key else f"<p>{nothing}</p>"

    with gr.Row(equal_height=True):
        # A page whose server was started again has a choice that the new one never offered.
        chosen = gr.Dropdown([], label=label, scale=4, allow_custom_value=True)
        again = gr.Button("Look again", scale=1)
    shown = gr.HTML(js_on_load=None, apply_default_css=False)
    events = [again.click, chosen.input, page.load, *([gr.Timer(every).tick] if every else [])]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(events, look, chosen, [chosen, shown], **quiet)
