"""``srkit``, and ``python -m srkit``."""

import sys


def main() -> int:
    """Run the command line; an interrupt is one line while its modules are imported, too."""
    try:
        import signal

        from srkit.cli import main as run

        status = run()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to say while Python ends
        return status
    except KeyboardInterrupt:
        sys.stderr.write("srkit: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
