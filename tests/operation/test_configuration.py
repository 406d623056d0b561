"""Where a value comes from, how its text is read, and what is said of one that will not do."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from beamline_trio import ClientOptions, OptionsError, Secret, TLSFiles
from beamline_trio.operation import CLIENT_PROFILE, ROUTER_PROFILE, Configuration, load_options
from beamline_trio.operation._keys import KEYS


def load(environment: dict[str, str] | None = None, **arguments: Any) -> Configuration:
    """From these variables only, whatever this process has."""
    return load_options(environment=environment or {}, **arguments)


def toml(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "beamline.toml"


def test_nothing_given_is_the_profile() -> None:
    """The defaults are those of open_client, and port 9001 on the loopback interface."""
    configuration = load()
    assert configuration == Configuration(client=ClientOptions(), metrics_port=9001, metrics_host="127.0.0.1")
    assert ClientOptions() == CLIENT_PROFILE
    assert not configuration.servers_given


def test_the_router_profile_has_the_originals_numbers() -> None:
    """Ten passes, 1 to 30 s with full jitter; everything else as open_client."""
    differing = {
        field.name: getattr(ROUTER_PROFILE, field.name)
        for field in attrs.fields(ClientOptions)
        if getattr(ROUTER_PROFILE, field.name) != getattr(CLIENT_PROFILE, field.name)
    }
    assert differing == {
        "reconnect_attempts": 10,
        "reconnect_delay_seconds": 1.0,
        "reconnect_delay_max_seconds": 30.0,
        "reconnect_jitter": "full",
    }
    assert load(profile=ROUTER_PROFILE).client == ROUTER_PROFILE


def test_argument_before_environment_before_file_before_default(file: Path) -> None:
    """Each place wins over those behind it, option by option."""
    toml(file, 'name = "f"\nping_interval_seconds = 1\npong_timeout_seconds = 1\nmetrics_port = 1\n')
    environment = {"NATS_NAME": "e", "NATS_PING_INTERVAL_SECONDS": "2", "METRICS_PORT": "2"}
    configuration = load(environment, file=file, name="a")
    client = configuration.client
    assert (client.name, client.ping_interval_seconds, client.pong_timeout_seconds) == ("a", 2, 1)
    assert (configuration.metrics_port, client.connect_timeout_seconds) == (2, 5)


def test_this_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environment` the variables are those of the process."""
    monkeypatch.setenv("NATS_NAME", "from the process")
    assert load_options().client.name == "from the process"


def test_every_option_has_a_key_in_both_places(file: Path) -> None:
    """A new field of ClientOptions can be given at once, by NATS_<OPTION> and by its name in the file."""
    assert {key.option for key in KEYS} >= {field.name for field in attrs.fields(ClientOptions)}
    for key in KEYS:
        assert key.environment_names[0] == f"NATS_{key.option.upper()}"
        assert key.file_names[0] == key.option


@pytest.mark.parametrize(
    "variable, text, option, expected",
    [
        ("NATS_RECONNECT_ATTEMPTS", "7", "reconnect_attempts", 7),
        ("NATS_RECONNECT_ATTEMPTS", "none", "reconnect_attempts", None),
        ("NATS_RECONNECT_DELAY_SECONDS", "0.25", "reconnect_delay_seconds", 0.25),
        ("NATS_RECONNECT_DELAY_MS", "250", "reconnect_delay_seconds", 0.25),
        ("NATS_MAX_RECONNECT_DELAY_MS", "30000", "reconnect_delay_max_seconds", 30),
        ("NATS_CONNECT_TIMEOUT_MS", "1500", "connect_timeout_seconds", 1.5),
        ("NATS_TIMEOUT_MS", "2000", "operation_timeout_seconds", 2),
        ("NATS_TIMEOUT_MS", "None", "operation_timeout_seconds", None),
        ("NATS_MAX_PENDING_OPERATIONS", "5000", "pending_operations_max", 5000),
        ("NATS_PENDING_OPERATION_TIMEOUT_MS", "60000", "pending_timeout_seconds", 60),
        ("NATS_FAIL_OPEN_MODE", "true", "fail_open", True),
        ("NATS_FAIL_OPEN", "0", "fail_open", False),
        ("NATS_RECONNECT_JITTER", "full", "reconnect_jitter", "full"),
        ("NATS_URL", "nats://a:1", "servers", ("nats://a:1",)),
        ("NATS_SERVERS", "nats://a:1, tls://b", "servers", ("nats://a:1", "tls://b")),
        ("NATS_USER", "none", "user", "none"),
        ("NATS_TLS_ENABLED", "yes", "tls", True),
        ("NATS_TLS", "off", "tls", False),
    ],
)
def test_a_variable_is_read_as_its_option_means_it(variable: str, text: str, option: str, expected: object) -> None:
    """Numbers, milliseconds, flags, none, lists; a secret's text is its text."""
    assert getattr(load({variable: text}).client, option) == expected


@pytest.mark.parametrize(
    "text, option, expected",
    [
        ("nats_reconnect_attempts = 7", "reconnect_attempts", 7),
        ('reconnect_attempts = "none"', "reconnect_attempts", None),
        ("nats_reconnect_delay_ms = 250", "reconnect_delay_seconds", 0.25),
        ("reconnect_delay_seconds = 2", "reconnect_delay_seconds", 2),
        ("fail_open = true", "fail_open", True),
        ('servers = ["nats://a", "nats://b"]', "servers", ("nats://a", "nats://b")),
        ('servers = "nats://a,nats://b"', "servers", ("nats://a", "nats://b")),
    ],
)
def test_a_file_has_the_same_keys(file: Path, text: str, option: str, expected: object) -> None:
    """In TOML's own types, under the option's name or its legacy key."""
    assert getattr(load(file=toml(file, text)).client, option) == expected


def test_servers_that_are_given_are_told_from_the_default(file: Path) -> None:
    """`beamline run` starts a server of its own only when nobody names one, in any place."""
    assert load({"NATS_URL": "nats://127.0.0.1:4222"}).servers_given
    assert load(servers=["nats://127.0.0.1:4222"]).servers_given
    assert load(file=toml(file, 'servers = ["nats://127.0.0.1:4222"]')).servers_given
    assert not load({"NATS_URL": ""}).servers_given


@pytest.mark.parametrize(
    "first, second, option",
    [
        ("NATS_RECONNECT_DELAY_SECONDS", "NATS_RECONNECT_DELAY_MS", "reconnect_delay_seconds"),
        ("NATS_SERVERS", "NATS_URL", "servers"),
        ("NATS_PASSWORD", "NATS_PASSWORD_FILE", "password"),
        ("NATS_METRICS_PORT", "METRICS_PORT", "metrics_port"),
    ],
)
def test_two_keys_of_one_option_are_an_error(first: str, second: str, option: str) -> None:
    """It names both, and neither value."""
    with pytest.raises(OptionsError, match=f"{first} and {second} are both given and mean {option}") as caught:
        load({first: "11111", second: "11111"})
    assert "11111" not in str(caught.value)


def test_two_keys_in_a_file_are_an_error(file: Path) -> None:
    """The same, and it names the file."""
    toml(file, "fail_open = true\nnats_fail_open_mode = true\n")
    with pytest.raises(OptionsError, match=f"fail_open and nats_fail_open_mode are both given in {file}"):
        load(file=file)


@pytest.mark.parametrize(
    "variable, text, message",
    [
        ("NATS_RECONNECT_ATTEMPTS", "many", "reconnect_attempts is 'many'; it must be a whole number of at least 1"),
        ("NATS_RECONNECT_ATTEMPTS", "0", "reconnect_attempts is 0; it must be a whole number of at least 1, or None"),
        ("NATS_RECONNECT_DELAY_MS", "-5", "reconnect_delay_seconds is -0.005; it must be a number of at least 0.001"),
        ("NATS_RECONNECT_DELAY_MS", "soon", "reconnect_delay_seconds is 'soon'; it must be a number"),
        ("NATS_CONNECT_TIMEOUT_SECONDS", "nan", "connect_timeout_seconds is nan; it must be a number of at least"),
        ("NATS_FAIL_OPEN", "maybe", "fail_open is 'maybe'; it must be True or False"),
        ("NATS_RECONNECT_JITTER", "some", "reconnect_jitter is 'some'; it must be one of upper_half, full, none"),
        ("NATS_INBOX_PREFIX", "a b", "inbox_prefix is 'a b'; it must be a subject without wildcards"),
        ("NATS_SERVERS", "http://h", "scheme 'http' of http://h is not one of"),
        ("NATS_SERVERS", ",", "servers is empty; give at least one"),
        ("METRICS_PORT", "65536", "metrics_port is 65536; it must be a whole number from 1 to 65535, or 0"),
        ("METRICS_PORT", "http", "metrics_port is 'http'; it must be a whole number"),
        ("NATS_INSTANCE", "a\nb", "instance is 'a\\nb'; it must be printable, of at most 128 characters"),
        ("NATS_REGION", "e" * 129, "it must be printable, of at most 128 characters"),
        ("NATS_WATCH_CLUSTER", "perhaps", "watch_cluster is 'perhaps'; it must be True or False"),
        ("NATS_TLS_VERIFY", "perhaps", "it must be true or false"),
    ],
)
def test_a_bad_value_names_key_value_and_bound(variable: str, text: str, message: str) -> None:
    """What was given, under which key, and what it must be."""
    with pytest.raises(OptionsError) as caught:
        load({variable: text})
    assert str(caught.value).startswith(variable)
    assert message in str(caught.value)


def test_a_bad_value_in_a_file_names_the_file(file: Path) -> None:
    """The key alone would not say where to look."""
    toml(file, "ping_interval_seconds = true")
    with pytest.raises(OptionsError, match=f"ping_interval_seconds in {file}: ping_interval_seconds is True; it must"):
        load(file=file)


def test_a_bad_argument_names_itself_once() -> None:
    """An argument has the option's name, which is in the text already."""
    with pytest.raises(OptionsError, match=r"^metrics_host is ''; it must be an address"):
        load(metrics_host="")


def test_an_argument_that_is_no_option_is_a_type_error() -> None:
    """As for open_client."""
    with pytest.raises(TypeError, match="unknown option nmae"):
        load(nmae="x")


@pytest.mark.parametrize(
    "text, message",
    [
        ("nmae = 1", "unknown key nmae in .*; the keys are .*name.*"),
        ("name = ", "is no TOML"),
        ("servers = 5", "servers is no list of server URLs"),
        ("servers = [5]", "servers is no list of server URLs"),
        ("[name]\nx = 1", "name must be a text"),
    ],
)
def test_a_file_that_will_not_do_is_an_error(file: Path, text: str, message: str) -> None:
    """A key that is no option, text that is no TOML, a value of another kind."""
    with pytest.raises(OptionsError, match=message):
        load(file=toml(file, text))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nothing is read by default; what was named must exist, and be a text file."""
    with pytest.raises(OptionsError, match=r"cannot read the configuration .*: No such file"):
        load(file=tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionsError, match="is no TOML"):
        load(file=tmp_path / "binary.toml")


def test_secrets_may_be_files_of_their_own(tmp_path: Path, file: Path) -> None:
    """NATS_PASSWORD_FILE names one, as container platforms mount them; a last newline is not part of it."""
    secret = tmp_path / "secret"
    secret.write_text(" pa55 \n")
    client = load({"NATS_USER": "u", "NATS_PASSWORD_FILE": str(secret)}).client
    assert client.user == "u"
    assert client.password == Secret(" pa55 ")
    assert load(file=toml(file, f"token_file = '{secret}'")).client.token == " pa55 "
    with pytest.raises(OptionsError, match="NATS_TOKEN_FILE is '/nowhere': No such file"):
        load({"NATS_TOKEN_FILE": "/nowhere"})
    with pytest.raises(OptionsError, match=r"token_file is 1\.5: it must be the path of a text file"):
        load(file=toml(file, "token_file = 1.5"))


@pytest.mark.parametrize("option", ["password", "token"])
def test_a_secret_is_in_no_error_and_no_repr(option: str, file: Path) -> None:
    """A value of the wrong kind is refused without being shown; a good one is not in the configuration's repr."""
    with pytest.raises(OptionsError) as caught:
        load(file=toml(file, f"{option} = 5555"))
    assert "5555" not in str(caught.value)
    configuration = load({f"NATS_{option.upper()}": "5555", "NATS_URL": "nats://u:5555@h"})
    assert "5555" not in repr(configuration)
    with pytest.raises(OptionsError) as caught:
        load({"NATS_URL": "http://u:5555@h"})
    assert "5555" not in str(caught.value)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of an authority, a client's certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    client = authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    client.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    client.private_key_pem.write_to_path(directory / "key.pem")
    write_encrypted(directory / "encrypted.pem", client)
    (directory / "password").write_text("open sesame\n")
    return {name: str(directory / f"{name}.pem") for name in ("ca", "cert", "key", "encrypted")}


def write_encrypted(path: Path, certificate: trustme.LeafCert) -> None:
    """Certificate and key in one file, the key encrypted."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    secret = serialization.BestAvailableEncryption(b"open sesame")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    path.write_bytes(pem + certificate.cert_chain_pems[0].bytes())


def test_the_password_of_a_key_is_a_secret(certificates: dict[str, str]) -> None:
    """An encrypted key needs its password, from a variable or a file; it is shown nowhere."""
    environment = {"NATS_TLS_CERT_FILE": certificates["encrypted"]}
    password = str(Path(certificates["ca"]).parent / "password")
    for given in ({"NATS_TLS_KEY_PASSWORD": "open sesame"}, {"NATS_TLS_KEY_PASSWORD_FILE": password}):
        configuration = load(environment | given)
        assert isinstance(configuration.client.tls, TLSFiles)
        assert "sesame" not in repr(configuration)
    with pytest.raises(OptionsError, match="key_password") as caught:
        load(environment | {"NATS_TLS_KEY_PASSWORD": "close sesame"})
    assert "sesame" not in str(caught.value)


def test_tls_files_make_a_context(certificates: dict[str, str]) -> None:
    """The legacy keys: authority, certificate, key; the host name is checked."""
    environment = {
        "NATS_TLS_CA_CERT_FILE": certificates["ca"],
        "NATS_TLS_CERT_FILE": certificates["cert"],
        "NATS_TLS_KEY_FILE": certificates["key"],
    }
    files = load(environment).client.tls
    assert isinstance(files, TLSFiles)
    context = files.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1  # the given authority, and none of the platform's

    files = load({"NATS_TLS_VERIFY": "false", "NATS_TLS_ENABLED": "true"}).client.tls
    assert isinstance(files, TLSFiles)
    context = files.context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_tls_that_is_off_or_given_stays(certificates: dict[str, str]) -> None:
    """NATS_TLS_ENABLED=false wins over files, and so does a context that was given."""
    files = {"NATS_TLS_CA_CERT_FILE": certificates["ca"]}
    assert load(files | {"NATS_TLS_ENABLED": "false"}).client.tls is False
    context = ssl.create_default_context()
    assert load(files, tls=context).client.tls is context


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"NATS_TLS_CA_CERT_FILE": "/nowhere"}, "NATS_TLS_CA_CERT_FILE is '/nowhere': No such file"),
        ({"NATS_TLS_CERT_FILE": "/nowhere"}, "NATS_TLS_CERT_FILE is '/nowhere': no such file"),
        ({"NATS_TLS_KEY_FILE": "key"}, "NATS_TLS_KEY_FILE is .*: it is given without a certificate"),
        ({"NATS_TLS_CERT_FILE": "encrypted"}, "it must be PEM, certificate and key of a pair, and key_password that"),
        ({"NATS_TLS_CERT_FILE": "ca", "NATS_TLS_KEY_FILE": "key"}, "it must be PEM, certificate and key of a pair"),
    ],
)
def test_tls_files_that_will_not_do_are_named(
    certificates: dict[str, str], environment: dict[str, str], message: str
) -> None:
    """Key, path, reason."""
    with pytest.raises(OptionsError, match=message):
        load({name: certificates.get(value, value) for name, value in environment.items()})
