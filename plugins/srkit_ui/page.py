"""The page: gradio's tabs and theme, with panels of our own, which ask our own paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from fastapi import FastAPI

from srkit import __version__, plugins, registry
from srkit.hookspecs import kinds
from srkit_ui.catalogue import TEMPLATES

HEAD = """<link rel="stylesheet" href="srkit/static/ui.css">
<script type="module" src="srkit/static/ui.js"></script>
<meta name="color-scheme" content="light dark">"""
ICON = str(Path(__file__).parent / "static" / "icon.svg")


def add_to(app: FastAPI) -> None:
    """Add the page to an application."""
    with gr.Blocks(title="srkit", analytics_enabled=False, fill_width=True) as page:
        _html("start")
        with gr.Tabs():
            for name in ("upscale", "compare", "train", "report"):
                with gr.Tab(name.capitalize()):
                    _html(name)
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
