"""Secrets by reference: where they are read from, what is refused, and that a value shows nowhere."""

import shutil
from pathlib import Path

import pytest

from router.terms.load import load
from router.terms.secrets import SecretError, Secrets, references
from tests.config_cases import CASES

VALUE = "hunter2-the-value"


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """A secret's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_the_configuration_directory_holds_secrets_for_their_owner(tmp_path: Path) -> None:
    """One newline at the end is not part of the secret; everything else is."""
    write(tmp_path / "secrets" / "crm", f" {VALUE} \n\n")
    assert Secrets(tmp_path).read("secret:crm") == f" {VALUE} \n"


def test_credentials_come_first_and_are_guarded_by_systemd(tmp_path: Path) -> None:
    """`$CREDENTIALS_DIRECTORY` wins, whatever its modes; what is not there is looked for at home."""
    write(tmp_path / "config" / "secrets" / "crm", "home")
    write(tmp_path / "config" / "secrets" / "other", "home")
    write(tmp_path / "credentials" / "crm", "given", 0o444)
    secrets = Secrets(tmp_path / "config", tmp_path / "credentials")
    assert (secrets.read("secret:crm"), secrets.read("secret:other")) == ("given", "home")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_file_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The error names the file and the command that mends it, never the value."""
    path = write(tmp_path / "secrets" / "crm", VALUE, mode)
    with pytest.raises(SecretError) as caught:
        Secrets(tmp_path).read("secret:crm")
    assert str(path) in caught.value.message
    assert caught.value.mend == f"chmod 600 {path}"
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    "reference", ["secret:", "secret:../crm", "secret:a/b", "secret:..", "secret:.hidden", "crm", "secret:a\nb", VALUE]
)
def test_names_stay_in_their_folder(tmp_path: Path, reference: str) -> None:
    """A name cannot lead anywhere else, and what was written is not repeated: it may be the secret itself."""
    write(tmp_path / "crm", VALUE)
    with pytest.raises(SecretError) as caught:
        Secrets(tmp_path).read(reference)
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty"), ("\n", "empty"), (b"\xff", "UTF-8"), ("x" * 70_000, "larger")]
)
def test_files_that_hold_no_secret(tmp_path: Path, text: str | bytes, says: str) -> None:
    """Empty, binary and huge files are mistakes."""
    write(tmp_path / "secrets" / "crm", text)
    with pytest.raises(SecretError, match=says):
        Secrets(tmp_path).read("secret:crm")


def test_a_missing_secret_says_where_it_belongs(tmp_path: Path) -> None:
    """And both ways of giving it."""
    with pytest.raises(SecretError, match="LoadCredential") as caught:
        Secrets(tmp_path).read("secret:crm")
    assert str(tmp_path / "secrets" / "crm") in caught.value.message


def test_nothing_shows_a_value(tmp_path: Path) -> None:
    """Neither repr nor attributes hold one."""
    write(tmp_path / "secrets" / "crm", VALUE)
    secrets = Secrets(tmp_path)
    secrets.read("secret:crm")
    assert VALUE not in f"{secrets!r} {vars(secrets)}"


def test_missing_secrets_are_errors_only_to_serve(tmp_path: Path) -> None:
    """`check` warns, `serve` refuses; buyers that are not live never keep the daemon from starting."""
    config = tmp_path / "config"
    shutil.copytree(CASES / "base", config)
    terms = load(config).terms
    assert terms is not None
    secrets = Secrets(config)
    (problem,) = secrets.missing(terms, strict=False)
    assert (problem.file, problem.key, problem.severity) == (
        "buyers/roofer.toml",
        "endpoints.crm.auth.token",
        "warning",
    )
    assert [problem.severity for problem in secrets.missing(terms, strict=True)] == ["error"]
    path = config / "buyers" / "roofer.toml"
    path.write_text(path.read_text().replace('status = "live"', 'status = "draft"', 1))
    draft = load(config).terms
    assert draft is not None
    assert [problem.severity for problem in secrets.missing(draft, strict=True)] == ["warning"]
    write(config / "secrets" / "roofer_token", VALUE)
    assert secrets.missing(terms, strict=True) == []


def test_every_reference_of_the_words_is_found() -> None:
    """Each kind of auth: user names and lists of secrets too."""
    terms = load(CASES / "good" / "every_word").terms
    assert terms is not None
    assert [(key, reference) for _, key, reference, _ in references(terms)] == [
        ("endpoints.crm.auth.token", "secret:brightroof_token"),
        ("endpoints.local.auth.password", "secret:p"),
        ("endpoints.local6.auth.secrets[0]", "secret:a"),
        ("endpoints.local6.auth.secrets[1]", "secret:b"),
        ("endpoints.query.auth.value", "secret:k"),
        ("endpoints.tls.auth.cert", "secret:cert"),
        ("endpoints.tls.auth.key", "secret:key"),
        ("endpoints.token.auth.client_id", "secret:id"),
        ("endpoints.token.auth.client_secret", "secret:s"),
        ("endpoints.soap.auth.value", "secret:k"),
    ]
