"""Folders of transformers that training starts from: local ones, or repositories of the hub."""

import re
from pathlib import Path

from consilience import files
from consilience.errors import ModelError

PREFIX = "hf-hub:"
WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin")
"""Files of a repository that are fetched: configuration, tokenizer and weights of PyTorch."""
_REPOSITORY = re.compile(rf"{PREFIX}([\w.-]+/[\w.-]+)")


def is_repository(uri: str) -> bool:
    """Returns whether `uri` is `hf-hub:OWNER/REPOSITORY`, and not a file in one."""
    return bool(_REPOSITORY.fullmatch(uri))


def find_folder(uri: str) -> Path:
    """Returns the local folder that `uri` names, fetched into the hub's cache if need be.

    Args:
        uri: `hf-hub:OWNER/REPOSITORY`; or what `files.locate` knows.

    Raises:
        DataError: nothing is there.
        ModelError: the hub does not give the repository, and it was never fetched.
    """
    repository = _REPOSITORY.fullmatch(uri)
    if repository is None:
        return files.locate(uri)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - takes half a second

    try:
        return Path(snapshot_download(repository[1], allow_patterns=list(WANTED)))
    except Exception as error:  # the client passes on whatever its network library raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{uri} was never fetched and cannot be now ({reason}); run `snakemake all_prefetch` "
            "where there is a network, or name a local folder in `weights`"
        ) from error
