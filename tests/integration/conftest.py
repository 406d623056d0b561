"""What the tests in this directory share: a fresh real nats-server for each test that asks for one."""

from __future__ import annotations

from tests._server_fixture import nats_server as nats_server
from tests._server_fixture import nats_server_executable as nats_server_executable
from tests._server_fixture import pytest_configure as pytest_configure
