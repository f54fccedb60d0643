"""`unspoken demo`: a page on which a run's models answer beside each other."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.options import Flag
from unspoken.cli.output import silence_libraries


def demo(
    run: Path, /, *, host: str = "127.0.0.1", port: int | None = None, browser: Flag = False
) -> None:
    """Open a page to try a run's models on.

    A question in two columns, thinking aloud and answering at once, with tokens and time; every
    kept level of removal; a race over ten questions of the test. Needs the extra demo (Gradio) and
    no network: the page is served from this machine, and nothing on it comes from elsewhere.

    Parameters
    ----------
    run
        folder of a finished run, such as runs/quickstart
    host
        address to listen at; 0.0.0.0: other machines may see it, too
    port
        default: a free one, from 7860 on
    browser
        open it in a browser, too
    """
    silence_libraries()
    from unspoken.run.demo.contest import Contest
    from unspoken.run.demo.page import launch, make_page

    page = make_page(Contest(run))
    address = launch(page, host=host, port=port, open_browser=browser)
    print(f"{address} (Ctrl-C ends it)", flush=True)
    page.block_thread()
