"""Where secrets for back ends are kept: environment variables, mounted files, or the first of several."""

from stoa.infrastructure.credentials.chained import ChainedCredentialSource
from stoa.infrastructure.credentials.environment import EnvironmentCredentialSource
from stoa.infrastructure.credentials.files import FileCredentialSource

__all__ = ["ChainedCredentialSource", "EnvironmentCredentialSource", "FileCredentialSource"]
