"""What would happen to a person with these claims, and why: the judgement of a sign-in, without the sign-in.

It owns reading the claims an admin has at hand, and the ways to print the answer. It owns no rule: the preset,
`admit_person` and `build_claims` decide here as they do at a sign-in. It judges the person, not the message: no
signature, audience, time or nonce is looked at, and nothing is signed or sent.
"""

from broker.explain.explanation import Explanation, explain, judge_person
from broker.explain.input import INPUT_LIMIT, UnusableInput, UnverifiedClaims, pick, read_claims
from broker.explain.report import to_json, to_text

__all__ = [
    "INPUT_LIMIT",
    "Explanation",
    "UnusableInput",
    "UnverifiedClaims",
    "explain",
    "judge_person",
    "pick",
    "read_claims",
    "to_json",
    "to_text",
]
