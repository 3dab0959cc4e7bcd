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


class UnknownPrompt(ModelError):
    """No prompt has that name."""


class NotConfigured(ModelError):
    """A setting that the model cannot do without is empty or has a value that cannot work."""


class UnreadableAnswer(ModelError):
    """What the model answered does not hold what it was asked for, however often it was asked."""


class DescriberRefused(ModelError):
    """The describer's server will not answer this request, now or later."""


class DescriberUnavailable(ModelError):
    """No server of the describer answered in time; another try may find one."""


class UnsuitableWeights(ModelError):
    """A file of weights is damaged, of another network, or does not go with the others."""
