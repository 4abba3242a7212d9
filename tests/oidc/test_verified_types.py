"""SignedClaims and VerifiedIdToken cannot be forged: only the function that verifies or checks makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.oidc.id_token import SignedClaims, VerifiedIdToken, verify_signature
from tests.oidc.samples import ISSUER, check, claims, key_set, published, sign, signing_key


def signed() -> SignedClaims:
    token = sign({"alg": "RS256"}, claims(), signing_key())
    return verify_signature(token, key_set(published(signing_key())), algorithms=["RS256"])


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda: SignedClaims("RS256", None, claims(), made_by=object()), id="signed claims"),
        pytest.param(lambda: SignedClaims("RS256", None, claims(), made_by=None), id="signed claims by nobody"),
        pytest.param(lambda: VerifiedIdToken(ISSUER, "00u-ada", claims(), made_by=object()), id="an ID token"),
        pytest.param(lambda: replace(check(), subject="00u-eve", made_by=object()), id="a changed ID token"),
        pytest.param(
            lambda: replace(signed(), claims=claims(sub="00u-eve"), made_by=object()), id="changed signed claims"
        ),
    ],
)
def test_no_other_code_makes_verified_claims(forge: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        forge()
