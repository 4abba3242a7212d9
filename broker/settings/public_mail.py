"""Mail domains anyone can get an address in: binding one to a provider would let strangers in.

It owns the list alone. It is not complete and cannot be: it catches the mistake, not the malice.
"""

from __future__ import annotations

import re

PUBLIC_MAIL_DOMAINS = frozenset(
    {
        "10minutemail.com", "126.com", "139.com", "163.com", "abv.bg", "aim.com", "alice.it", "aol.com", "arcor.de",
        "att.net", "au.com", "azet.sk", "bellsouth.net", "bigpond.com", "bk.ru", "bluewin.ch", "bol.com.br",
        "btinternet.com", "centrum.cz", "charter.net", "club-internet.fr", "comcast.net", "cox.net", "daum.net",
        "dispostable.com", "docomo.ne.jp", "duck.com", "earthlink.net", "email.com", "email.cz", "ezweb.ne.jp",
        "fastmail.com", "fastmail.fm", "foxmail.com", "free.fr", "freemail.hu", "freenet.de", "getnada.com",
        "gmx.net", "guerrillamail.com", "hanmail.net", "hey.com", "home.nl", "hushmail.com", "i.softbank.jp",
        "icloud.com", "inbox.lv", "inbox.ru", "interia.pl", "inwind.it", "iol.it", "kpnmail.nl", "laposte.net",
        "libero.it", "list.ru", "live.at", "live.be", "live.ca", "live.cn", "live.co.uk", "live.com", "live.com.au",
        "live.com.mx", "live.de", "live.fr", "live.it", "live.nl", "live.se", "mac.com", "mail.com", "mail.ee",
        "mail.ru", "mailbox.org", "maildrop.cc", "mailinator.com", "me.com", "mozmail.com", "msn.com", "nate.com",
        "naver.com", "neuf.fr", "o2.pl", "onet.pl", "online.de", "optonline.net", "orange.fr", "outlook.at",
        "outlook.be", "outlook.co.id", "outlook.com", "outlook.com.au", "outlook.com.br", "outlook.de", "outlook.es",
        "outlook.fr", "outlook.ie", "outlook.in", "outlook.it", "outlook.jp", "passport.com", "pm.me", "post.cz",
        "posteo.de", "privaterelay.appleid.com", "proton.me", "protonmail.ch", "protonmail.com", "qq.com",
        "rambler.ru", "rediffmail.com", "rocketmail.com", "rogers.com", "sbcglobal.net", "seznam.cz", "sfr.fr",
        "sharklasers.com", "shaw.ca", "sina.com", "sky.com", "softbank.ne.jp", "t-online.de", "talktalk.net",
        "telenet.be", "telus.net", "temp-mail.org", "tempmail.com", "terra.com.br", "throwawaymail.com", "tin.it",
        "tiscali.it", "trashmail.com", "tuta.com", "tuta.io", "tutamail.com", "tutanota.com", "tutanota.de",
        "ukr.net", "uol.com.br", "verizon.net", "virgilio.it", "virginmedia.com", "volny.cz", "wanadoo.fr", "web.de",
        "windowslive.com", "wp.pl", "ya.ru", "yeah.net", "yopmail.com", "yopmail.fr", "ziggo.nl", "zoho.com",
        "zohomail.com",
    }
)  # fmt: skip

# Under these, anyone can register a domain: they are nobody's.
_ENDINGS = re.compile(r"(ac|co|com|edu|gov|net|org)\.[a-z]{2}")

# These exist under most countries' endings: yahoo.fr, yahoo.co.uk, yahoo.com.au.
_EVERYWHERE = re.compile(r"(gmail|gmx|googlemail|hotmail|yahoo|yandex|ymail)(\.com?)?\.[a-z]{2,3}")


def is_public_mail(domain: str) -> bool:
    """Say whether anyone can get an address in this lower-case domain, or it is an ending of others' domains."""
    return domain in PUBLIC_MAIL_DOMAINS or any(form.fullmatch(domain) for form in (_EVERYWHERE, _ENDINGS))
