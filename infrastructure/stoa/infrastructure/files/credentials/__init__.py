"""Sources of secrets for back ends: environment variables, mounted files, or the first of several that has one."""

from stoa.infrastructure.files.credentials.chained import ChainedCredentialSource
from stoa.infrastructure.files.credentials.environment import EnvironmentCredentialSource
from stoa.infrastructure.files.credentials.files import FileCredentialSource

__all__ = ["ChainedCredentialSource", "EnvironmentCredentialSource", "FileCredentialSource"]
