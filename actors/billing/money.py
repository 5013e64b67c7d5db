"""Amounts as people write them. Inside, an amount is an integer of minor units beside its currency."""

ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
SENT_IN_HUNDREDTHS = frozenset(("isk", "ugx"))  # no minor unit in life, yet Stripe keeps sending two decimals
SYMBOLS = {
    "usd": "$",
    "eur": "€",
    "gbp": "£",
    "jpy": "¥",
    "krw": "₩",
    "inr": "₹",
    "brl": "R$",
    "cad": "CA$",
    "aud": "A$",
    "nzd": "NZ$",
    "ils": "₪",
    "vnd": "₫",
}


def decimals(currency: str) -> int:
    """How many digits of an amount of this currency stand behind the point, as Stripe sends it."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def format_money(minor: int, currency: str) -> str:
    """For people: 2900 usd is "$29.00", 50000 jpy "¥50,000", 1500 kwd "KWD 1.500"."""
    currency = currency.lower()
    places = decimals(currency)
    units, rest = divmod(abs(minor), 10**places)
    number = f"{units:,}.{rest:0{places}}" if places else f"{units:,}"
    if currency in SENT_IN_HUNDREDTHS and not rest:
        number = f"{units:,}"
    sign = "-" if minor < 0 else ""
    symbol = SYMBOLS.get(currency) or (f"{currency.upper()} " if currency else "")
    return f"{sign}{symbol}{number}"
