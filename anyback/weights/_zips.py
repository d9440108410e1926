"""What may be in a zip archive that a reader takes from: parts that are stored as they are, once each."""

from __future__ import annotations

import zipfile

from anyback.errors import WeightsError
from anyback.weights._arrays import checked_name, quoted

__all__ = ["members"]

_MOST_MEMBERS = 100_000


def members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by name, or raise `WeightsError`.

    Parameters
    ----------
    archive : zipfile.ZipFile
        Open for reading.
    size : int
        Bytes of the whole file: its members cannot hold more.

    Returns
    -------
    dict of str to zipfile.ZipInfo
    """
    found: dict[str, zipfile.ZipInfo] = {}
    listed = archive.infolist()
    if len(listed) > _MOST_MEMBERS:
        raise WeightsError(f"more than {_MOST_MEMBERS:,} members")
    for member in listed:
        if checked_name(member.filename) in found:
            raise WeightsError(f"member {quoted(member.filename)} is there twice")
        if member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(f"member {quoted(member.filename)} is encrypted or compressed; store it as it is")
        found[member.filename] = member
    if len({member.header_offset for member in listed}) < len(listed):
        raise WeightsError("two members of the archive begin at the same byte")
    if sum(member.file_size for member in listed) > size:
        raise WeightsError("the members of the archive claim more bytes than the file has")
    return found
