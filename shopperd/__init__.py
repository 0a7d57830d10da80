"""shopperd keeps what you are billed for equal to what you asked for."""

__version__ = "0.1.0"
