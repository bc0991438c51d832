"""The errors a user can cause or meet, each with the exit code of the command line.

::

    MrfpipeError
    ├── InputError          3  a file cannot be read, or what it says is invalid
    ├── MismatchError       4  inputs that are each valid do not fit each other
    ├── OutputExistsError   5  the output is there already and --force was not given
    └── ResourceError       6  the device, the memory or the disk does not allow it

A message is one line: what is wrong, where, and what to do about it. Mistakes in the call of a library function raise
`ValueError`, as numpy does.
"""


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message without a full stop, or the error's type if it is empty."""
    message = error.args[0] if isinstance(error, KeyError) and error.args else error  # str(KeyError) is a repr
    return str(message).strip().partition("\n")[0].rstrip(". ") or type(error).__name__


class MrfpipeError(Exception):
    """Root of all errors that mrfpipe raises on purpose."""

    exit_code = 1


class InputError(MrfpipeError):
    """A file cannot be read, or what it says is invalid."""

    exit_code = 3


class MismatchError(MrfpipeError):
    """Inputs that are each valid do not fit each other."""

    exit_code = 4


class OutputExistsError(MrfpipeError):
    """The output is there already and was not to be replaced."""

    exit_code = 5


class ResourceError(MrfpipeError):
    """The device, the memory or the disk does not allow what was asked."""

    exit_code = 6
