"""One JSON web token, signed with ES256 by the certificate's key, and the key set that verifies it (openssl does the work)."""

import base64
import json
import subprocess

from . import place
from .place import Trouble

ISSUER = "bench"
KEY_ID = "bench"
# 2100-01-01: the token outlives every run.
EXPIRES_AT = 4_102_444_800


def token(private_key):
    """A compact JWS with issuer, subject and expiry."""
    head = {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    claims = {"iss": ISSUER, "sub": "client-1", "exp": EXPIRES_AT}
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(json.dumps(claims).encode())}"
    signature = openssl(["dgst", "-sha256", "-sign", private_key], signed.encode())
    return f"{signed}.{base64url(raw_signature(signature))}"


def key_set(private_key):
    """The JSON Web Key Set with the public key."""
    # The last 64 bytes of the public key's DER form are the point's coordinates.
    point = openssl(["pkey", "-in", private_key, "-pubout", "-outform", "DER"])[-64:]
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
                                 "x": base64url(point[:32]), "y": base64url(point[32:])}]})


def raw_signature(der):
    """ECDSA's r and s as 32 bytes each (RFC 7518 §3.4), from a DER sequence of two integers."""
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(arguments, data=None):
    done = subprocess.run([place.program("openssl"), *arguments], input=data, capture_output=True)
    if done.returncode:
        raise Trouble(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
