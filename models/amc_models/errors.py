"""The one exception a user is meant to read."""


class InputError(ValueError):
    """A wrong spec, path, annotation or checkpoint.

    The message is one line that names the file, the field and the remedy; the command line
    prints it and leaves with exit code 2, without a traceback.
    """
