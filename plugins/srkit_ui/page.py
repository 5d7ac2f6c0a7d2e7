"""The page: gradio's tabs, with panels of our own where gradio has nothing that fits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from fastapi import FastAPI

from srkit import __version__, plugins, registry
from srkit.hookspecs import kinds
from srkit_ui.catalogue import TEMPLATES, Catalogue

HEAD = """<link rel="stylesheet" href="srkit/static/ui.css">
<script type="module" src="srkit/static/ui.js"></script>
<meta name="color-scheme" content="light dark">"""
ICON = str(Path(__file__).parent / "static" / "icon.svg")
NO_RUN = "No run yet. To begin one: <code>srkit train faces-tiny --data samples</code>"
NO_REPORT = "No report yet. To make one: <code>srkit bench faces --data FOLDER --report out</code>"


def add_to(app: FastAPI, catalogue: Catalogue) -> None:
    """Add the page to an application."""

    def report(key: str) -> str:
        folder = catalogue.reports().get(key, "")
        return TEMPLATES.get_template("report.html").render(key=key, folder=folder)

    with gr.Blocks(title="srkit", analytics_enabled=False, fill_width=True) as page:
        _html("start")
        with gr.Tabs():
            for name in ("upscale", "compare"):
                with gr.Tab(name.capitalize()):
                    _html(name)
            with gr.Tab("Train") as tab:
                events = [page.load, tab.select, gr.Timer(3).tick]
                _chosen(events, "Run", catalogue.runs, catalogue.run, NO_RUN)
            with gr.Tab("Report") as tab:
                events = [page.load, tab.select]
                _chosen(events, "Report", catalogue.reports, report, NO_REPORT)
            with gr.Tab("Plugins"):
                parts = {kind.replace("_", " "): registry.offers(kind) for kind in kinds()}
                _html("plugins", plugins=plugins.load().plugins, kinds=parts, version=__version__)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    closed = dict.fromkeys(("run_history", "show_error", "ssr_mode", "mcp_server"), False)
    look = {"theme": theme, "head": HEAD, "footer_links": [], "favicon_path": ICON}
    gr.mount_gradio_app(app, page, "/", **look, **closed)


def _html(name: str, **values: Any) -> None:
    text = TEMPLATES.get_template(f"{name}.html").render(**values)
    gr.HTML(text, js_on_load=None, apply_default_css=False)


def _chosen(events: list[Any], label: str, listed: Any, show: Any, nothing: str) -> None:
    """Show what is chosen from a list; at each event both are looked at again."""

    def look(key: str | None) -> tuple[Any, str]:
        known = [(str(folder), key) for key, folder in listed().items()]
        keys = [key for _, key in known]
        key = key if key in keys else next(iter(keys), None)  # whatever a client sends
        choices = gr.Dropdown(choices=known, value=key, allow_custom_value=True)
        return choices, show(key) if key else f"<p class=srkit>{nothing}</p>"

    # A page whose server was started again has a choice that the new one never offered.
    chosen = gr.Dropdown([], label=label, allow_custom_value=True)
    shown = gr.HTML(js_on_load=None, apply_default_css=False)
    how = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    gr.on([*events, chosen.input], look, chosen, [chosen, shown], **how)
