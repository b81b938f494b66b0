"""From a notebook to a page of HTML that needs no network."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from sefar.errors import DataError, SefarError
from sefar.files import write_whole

KERNEL = "python3"
NO_ALTERNATIVE = re.compile(r'alt="No description has been provided for this image"')
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)


class LocalKernel(AsyncKernelManager):
    """A kernel behind a socket of this user alone; the usual TCP ports are open to all on the machine."""

    def _transport_default(self) -> str:
        return "ipc"


class CellFailure(SefarError, RuntimeError):
    """A cell of a notebook ended in an error."""


def write_page(
    notebook: Path, folder: Path, parameters: Mapping[str, Any], *, code: bool = False, cell_seconds: int = 600
) -> Path:
    """Execute a notebook and write it, with what it shows, as ``.ipynb`` and ``.html``.

    Args:
        notebook: to run; stays as it is. Its cell tagged ``parameters`` is followed by the values given here.
        folder: where the two go; made if missing.
        parameters: by name.
        code: whether the page shows the cells' code; the executed notebook always does.
        cell_seconds: longest that a cell may take.

    Returns:
        Path of the page.

    Raises:
        CellFailure: a cell failed; the notebook as far as it came lies in `folder`.
        DataError: the folder cannot be written.
    """
    executed, page = folder / notebook.name, folder / f"{notebook.stem}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            dict(parameters),
            kernel_name=KERNEL,
            kernel_manager_class=LocalKernel,
            extra_arguments=["--IPKernelApp.log_level=50"],  # it complains of being shut down
            progress_bar=False,
            log_output=False,
            execution_timeout=cell_seconds,
            cwd=str(notebook.parent.parent),  # paths in a notebook count from the project's folder
        )
        write_whole(page, as_html(executed, code=code))
    except PapermillExecutionError as error:
        what = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise CellFailure(f"{notebook.name}, cell {error.cell_index + 1}: {what}; see {executed}") from error
    except OSError as error:
        raise DataError(
            f"--out {folder}: cannot be written ({error.strerror or error}); name another folder"
        ) from error
    return page


def as_html(executed: Path, *, code: bool = False) -> str:
    """An executed notebook as one file: pictures inlined, nothing fetched from elsewhere."""
    exporter = HTMLExporter(
        embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True, exclude_input=not code
    )
    notebook = nbformat.read(executed, as_version=4)
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
    said = iter(alternatives(notebook))  # nbconvert's template leaves them out
    body = NO_ALTERNATIVE.sub(lambda _: f'alt="{html.escape(next(said))}"', str(body))
    return SCRIPT.sub("", body)  # MathJax, RequireJS, Mermaid: for what our pages do not have


def alternatives(notebook: nbformat.NotebookNode) -> list[str]:
    """What each picture of an executed notebook shows, in order."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    return [picture.metadata.get("image/png", {}).get("alt", "") for picture in pictures]


def warnings_of(executed: Path) -> list[str]:
    """What stands on the page that no reader should see: all that cells wrote to stderr."""
    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
