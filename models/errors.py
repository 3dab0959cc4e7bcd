"""Every exception that a model raises on purpose."""


class ModelError(Exception):
    """Something a model could not do."""


class UnknownModel(ModelError):
    """No backend of that kind has that name."""


class WeightsMissing(ModelError):
    """The weights are absent and could not be made from the installed packages."""


class UnsuitableInput(ModelError):
    """The input has a shape, a type or a scale that the model does not take."""


class OutOfMemory(ModelError):
    """One tile alone did not fit into the device's memory."""
