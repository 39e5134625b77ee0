"""Which part of `storage.folder` is a folder of this machine."""

from pathlib import Path

from omegaconf import OmegaConf

LOCAL = ".paring"  # for logs and databases in files, where the store is at an address


def is_address(folder: str) -> bool:
    """Whether `storage.folder` is an address such as s3://bucket/prefix, and no folder."""
    return "://" in folder


def local_folder(folder: str) -> Path:
    """The folder of this machine for logs, pages and databases in files: `storage.folder`, or
    .paring below the current folder where that is an address.

    Example:
        >>> local_folder("s3://bucket/prefix") == local_folder(".paring")
        True
    """
    return Path(LOCAL if is_address(folder) else folder).expanduser().resolve()


def _kept_folder(folder: object) -> str:
    """`local_folder` for files in conf/; a folder is left as it was written."""
    return LOCAL if is_address(str(folder)) else str(folder)


OmegaConf.register_new_resolver("paring.local", _kept_folder, replace=True)
