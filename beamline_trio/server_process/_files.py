"""What a server has on disk: its configuration, log and ports file, and its store.

All but a given store and log lie in one temporary directory, which `_open` makes and removes. Everything here
is short and synchronous; nothing here knows the process.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from ._options import ServerOptions

CONFIG_NAME = "nats-server.conf"
_LOG_TAIL_BYTES = 4096
_LOG_TAIL_LINES = 12


class ServerFiles:
    """The files of one server, in `directory` as far as the options name no other place."""

    def __init__(self, options: ServerOptions, directory: Path) -> None:
        self._options = options
        self.config_path = directory / CONFIG_NAME
        self.log_path = options.log_file or directory / "nats-server.log"
        self.store_directory = options.store_directory or directory / "store"
        self._ports_directory = directory / "ports"
        self._ports_directory.mkdir()
        self._log_offset = 0

    def write_config(self, port: int, text: str) -> None:
        """Write the configuration as a whole: a server that reads meanwhile sees the old or the new one."""
        lines = [
            "# Generated, and written anew before each start.",
            f"host: {_quoted(self._options.host)}",
            f"port: {port}",
            f"ports_file_dir: {_quoted(self._ports_directory)}",
        ]
        if self._options.debug:
            lines.append("debug: true")
        if self._options.jetstream:
            settings = f"store_dir: {_quoted(self.store_directory)}\n{self._options.jetstream_settings}"
            lines.append(f"jetstream {{ {settings}\n}}")
        draft = self.config_path.with_suffix(".new")
        draft.write_text("\n".join([*lines, text, ""]), encoding="utf-8")
        draft.replace(self.config_path)

    def begin_start(self) -> None:
        """Forget earlier processes: a killed one leaves its ports file, and process ids come again."""
        for ports_file in self._ports_directory.iterdir():
            ports_file.unlink()
        self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0

    def listens(self, pid: int) -> bool:
        """True when the process `pid` has written its ports file, as a server does once it listens."""
        return any(self._ports_directory.glob(f"*_{pid}.ports"))

    def any_listens(self) -> bool:
        """True when a process of this configuration, under whatever id, has written its ports file."""
        return any(self._ports_directory.glob("*.ports"))

    def open_log(self) -> BinaryIO:
        """Open the log for a process to append to."""
        return open(self.log_path, "ab")

    def log_tail(self) -> str:
        """The last lines that this start wrote; those of earlier ones would mislead."""
        with open(self.log_path, "rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_offset, end - _LOG_TAIL_BYTES))
            lines = log.read(_LOG_TAIL_BYTES).decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


def _quoted(value: str | Path) -> str:
    return json.dumps(str(value), ensure_ascii=False)
