"""Progress messages, in colour if rich is installed."""

try:
    from rich.console import Console

    _console = Console(highlight=False, soft_wrap=True)
except ImportError:
    _console = None


def say(text: str, style: str | None = None):
    if _console is None:
        print(text, flush=True)
    else:
        _console.print(text, style=style, markup=False)
