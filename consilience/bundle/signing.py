"""Signatures of bundles by OpenSSF model signing: from digests that are known, nothing read again.

A signature is a file of the bundle, `bundle.sig`, over the SHA-256 of every other one. What is
signed is what the tool `model_signing` signs of a folder, so that it, too, verifies an unpacked
bundle. Keys are of elliptic curves, in PEM files.
"""

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.errors import DataError

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE = "bundle.sig"


def sign(digests: Mapping[str, str], key: str | Path) -> bytes:
    """Returns the signature of files.

    Args:
        digests: SHA-256 in hexadecimal digits by name.
        key: file of the private key (PEM, curve P-256, P-384 or P-521, without a password).

    Raises:
        DataError: no such key, or the package `model-signing` is not installed.
    """
    from_file, _ = _library()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, SIGNATURE)
        try:
            config = from_file.Config().use_elliptic_key_signer(private_key=Path(key))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{key} is no private key to sign with ({_line(error)}); make one with "
                "`openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem`"
            ) from error
        config.set_hashing_config(_known(digests)).sign(Path("bundle"), out)
        return out.read_bytes()


def check_signature(
    name: str, digests: Mapping[str, str], signature: bytes | None, keys: Sequence[str | Path]
) -> str:
    """Returns which of some public keys signed files, if one of them did.

    Args:
        name: of the bundle, for messages.
        digests: SHA-256 of every file but the signature, as they are now.
        signature: the content of `bundle.sig`; None: there is none.
        keys: files of public keys (PEM).

    Raises:
        DataError: it is not signed, or by nobody of these, or not these files were signed; the
            message names the files.
    """
    _, verifying = _library()
    if signature is None:
        raise DataError(f"{name} is not signed; ask for a signed bundle (`bundle --sign KEY`)")
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SIGNATURE)
        path.write_bytes(signature)
        for key in keys:
            try:
                config = verifying.Config().use_elliptic_key_verifier(public_key=Path(key))
            except (OSError, ValueError, TypeError) as error:
                raise DataError(f"{key} is no public key ({_line(error)})") from error
            try:
                config.set_hashing_config(_known(digests)).verify(Path("bundle"), path)
            except Exception as error:  # whatever parsing and cryptography raise
                if str(error).startswith("Signature mismatch"):  # the key is right
                    said = _changed(digests, signature)
                continue
            return str(key)
    if said:
        raise DataError(f"{name} is not what was signed: {said}; ask for it again")
    names = ", ".join(map(str, keys))
    raise DataError(f"{name} is signed by none of {names}, or its signature is damaged")


def _changed(digests: Mapping[str, str], signature: bytes) -> str:
    """Returns which files differ from those that a verified signature is of."""
    envelope = json.loads(signature)["dsseEnvelope"]
    resources = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    signed = {one["name"]: one["digest"] for one in resources}
    changed = [n for n in sorted(signed) if n in digests and signed[n] != digests[n]]
    said = [f"{name} was changed" for name in changed]
    said += [f"{name} is new" for name in sorted(set(digests) - set(signed))]
    said += [f"{name} is missing" for name in sorted(set(signed) - set(digests))]
    return ", ".join(said)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _library() -> tuple[Any, Any]:
    try:
        from model_signing import signing, verifying  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise DataError(
            f"signatures need the package {error.name}; pip install 'consilience[signing]'"
        ) from None
    return signing, verifying


def _known(digests: Mapping[str, str]) -> "hashing.Config":
    """Returns how to hash a bundle: not at all, since the digests are known."""
    from model_signing import hashing, manifest  # noqa: PLC0415 - an extra

    class Known(hashing.Config):
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:  # noqa: ANN401
            kind = manifest.SerializationType.from_args(
                {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [SIGNATURE],
                }
            )
            digest = manifest.hashing.Digest
            items = [
                kind.new_item(name, digest("sha256", bytes.fromhex(value)))
                for name, value in sorted(digests.items())
            ]
            return manifest.Manifest(str(model_path), items, kind)

    return Known()
