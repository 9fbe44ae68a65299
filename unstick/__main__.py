"""`python -m unstick`, and the command `unstick`."""

import sys


def main() -> None:
    """Run it. Ctrl-C ends it without a traceback, while its modules are imported too."""
    try:
        from unstick.main import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("functions", "unstick"):
            raise
        # In a fresh clone the system's own Python has no packages, and its traceback suggests no remedy.
        sys.stderr.write(f"The package {error.name} is not installed here. Run `make setup`, then `.venv/bin/unstick ...`.\n")
        raise SystemExit(2) from None
    run()


if __name__ == "__main__":
    main()
