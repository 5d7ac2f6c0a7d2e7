"""WebDataset shards as sources of training images (extra ``webdataset``)."""

import srkit

# What webdataset opens, and archives on a disk.
ADDRESSES = (
    *("pipe:", "http:", "https:", "sftp:", "ftps:", "scp:", "gs:", "htgs:", "ais:"),
    *(".tar", ".tar.gz", ".tgz"),
)


@srkit.hookimpl
def srkit_sources() -> dict[str, str]:
    """Tar archives by pattern: files, URLs, and commands that print one."""
    return dict.fromkeys(ADDRESSES, "srkit_webdataset.source:Shards")
