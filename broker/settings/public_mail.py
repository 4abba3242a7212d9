"""Mail domains anyone can get an address in: binding one to a provider would let strangers in.

It owns the list alone. It is not complete and cannot be: it catches the mistake, not the malice.
"""

from __future__ import annotations

import re

PUBLIC_MAIL_DOMAINS = frozenset(
    {
        "126.com", "139.com", "163.com", "aim.com", "aol.com", "att.net", "bellsouth.net", "bk.ru", "bluewin.ch",
        "btinternet.com", "charter.net", "comcast.net", "cox.net", "duck.com", "earthlink.net", "email.com",
        "fastmail.com", "fastmail.fm", "foxmail.com", "free.fr", "freenet.de", "guerrillamail.com", "hey.com",
        "hushmail.com", "icloud.com", "inbox.ru", "interia.pl", "laposte.net", "libero.it", "list.ru", "live.at",
        "live.be", "live.ca", "live.cn", "live.co.uk", "live.com", "live.com.au", "live.com.mx", "live.de", "live.fr",
        "live.it", "live.nl", "live.se", "mac.com", "mail.com", "mail.ru", "mailbox.org", "mailinator.com", "me.com",
        "msn.com", "naver.com", "o2.pl", "orange.fr", "outlook.at", "outlook.be", "outlook.co.id", "outlook.com",
        "outlook.com.au", "outlook.com.br", "outlook.de", "outlook.es", "outlook.fr", "outlook.ie", "outlook.in",
        "outlook.it", "outlook.jp", "passport.com", "pm.me", "posteo.de", "proton.me", "protonmail.ch",
        "protonmail.com", "qq.com", "rediffmail.com", "rocketmail.com", "seznam.cz", "sfr.fr", "sina.com", "sky.com",
        "t-online.de", "talktalk.net", "telenet.be", "tiscali.it", "tuta.com", "tuta.io", "tutanota.com", "tutanota.de",
        "ukr.net", "verizon.net", "virgilio.it", "wanadoo.fr", "web.de", "windowslive.com", "wp.pl", "yeah.net",
        "zoho.com", "zohomail.com",
    }
)  # fmt: skip

# These exist under most countries' endings: yahoo.fr, yahoo.co.uk, yahoo.com.au.
_EVERYWHERE = re.compile(r"(gmail|gmx|googlemail|hotmail|yahoo|yandex|ymail)(\.com?)?\.[a-z]{2,3}")


def is_public_mail(domain: str) -> bool:
    """Say whether anyone can get an address in this lower-case domain."""
    return domain in PUBLIC_MAIL_DOMAINS or _EVERYWHERE.fullmatch(domain) is not None
