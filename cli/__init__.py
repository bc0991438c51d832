"""The command line: one file a command, thin, everything heavy imported when a command runs."""


def main() -> None:
    """Run the command line."""
