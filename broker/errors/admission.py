"""The person is genuine, but may not enter."""

from __future__ import annotations

from broker.errors.root import BrokerError


class NotAdmitted(
    BrokerError,
    status=403,
    user_message="You are signed in at your organisation, but your account may not enter here.",
):
    """The person is genuine, but may not enter."""


class EmailMissing(
    NotAdmitted,
    code="email_missing",
    user_message="Your account has no e-mail address that could be used here.",
    remedy="Give the person an e-mail address at the provider, add the email scope, or set email_claim.",
):
    """Neither the ID token nor userinfo carries an e-mail address."""


class EmailMalformed(
    NotAdmitted,
    code="email_malformed",
    user_message="The e-mail address of your account cannot be used here.",
    remedy="Correct the address in the directory: it has to be a plain ASCII mailbox.",
):
    """The e-mail address is not a plain ASCII mailbox of at most 254 characters."""


class EmailUnverified(
    NotAdmitted,
    code="email_unverified",
    user_message="Your organisation's sign-in service does not confirm the e-mail address of your account.",
    remedy="The provider must send email_verified: true beside the address. If the ID token does and userinfo says "
    "otherwise, set userinfo: when_needed. trust_unverified_email is for directories that only IT can edit.",
):
    """`email_verified` is not true where that is demanded."""


class EmailDomainNotAllowed(
    NotAdmitted,
    code="email_domain_not_allowed",
    user_message="Your e-mail address does not belong to an organisation that may sign in here.",
    remedy="Compare the spelling in the provider's email_domains. Add the domain only if its people may become agents; "
    "subdomains do not follow.",
):
    """The address's domain is not one this provider may assert."""


class GroupNotAllowed(
    NotAdmitted,
    code="group_not_allowed",
    remedy="Add the person to one of allowed_groups, or have the provider send the groups claim.",
):
    """The person is in none of the groups allowed, or the provider did not send the groups."""


class GroupsOverage(
    NotAdmitted,
    code="groups_overage",
    user_message="You are in so many groups that your organisation's sign-in service did not name them.",
    remedy="The person is in more groups than the provider writes into a token. Have it send only the groups assigned "
    "to the application, or use application roles in groups_claim.",
):
    """The provider left the groups out because there are too many; we never follow its address for them."""


class GuestNotAllowed(
    NotAdmitted,
    code="guest_not_allowed",
    user_message="Your account is a guest in this organisation, and guests may not sign in here.",
    remedy="Entra: a guest's user principal name is no address. Add the optional claims email and xms_edov if guests "
    "with a verified address in email_domains are meant to enter.",
):
    """A guest of an Entra tenant without a verified address."""


class TenantNotAllowed(
    NotAdmitted,
    code="tenant_not_allowed",
    user_message="Your account belongs to an organisation that may not sign in here.",
    remedy="Entra: add the tenant's id to tenants if its people may become agents.",
):
    """An Entra tenant that is not listed, or the one of personal accounts."""


class HostedDomainNotAllowed(
    NotAdmitted,
    code="hosted_domain_not_allowed",
    user_message="You used a Google account that does not belong to your organisation.",
    remedy="Google: the account is not managed by one of email_domains (claim hd). Add the Workspace's primary domain "
    "if it is missing there.",
):
    """No `hd` claim, or one that is not configured."""
