"""Where secrets for back ends are kept: environment variables, mounted files, or the first of several."""

from stoa.infrastructure.files.credentials.chained import ChainedCredentialSource
from stoa.infrastructure.files.credentials.environment import EnvironmentCredentialSource
from stoa.infrastructure.files.credentials.files import FileCredentialSource

__all__ = ["ChainedCredentialSource", "EnvironmentCredentialSource", "FileCredentialSource"]
