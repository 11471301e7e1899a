"""How English clauses begin that say something lasting. Each is bounded: no text makes one try for long."""

import re
from re import Pattern


def _pattern(text: str) -> Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _begins(text: str) -> Pattern[str]:
    """A clause that begins like this; the group *rest* is what follows."""
    return _pattern(rf"(?:{text}) (?P<rest>.{{1,200}})")


def _is_all(text: str) -> Pattern[str]:
    """A clause that is this and no more, politeness aside. For `fullmatch`."""
    return _pattern(rf"(?:{text})(?: please| instead| from now on| with me){{0,3}}")


_I = "i (?:(?:really|just|also|still|now|currently|actually|recently|always|absolutely|do|even) ){0,2}"
_WE = f"(?:{_I}|(?:we|i've|we've|i have|we have) (?:(?:just|recently|still|now|also) ){{0,2}})"
_AM = "(?:i'm|i am) (?:(?:really|also|actually|very|severely|highly|quite|now) ){0,2}"

# Facts

LIVES_IN = _begins(f"{_WE}(?:live in|moved to|relocated to)|(?:i'm|i am|we're|we are) (?:now )?living in")
COMES_FROM = _begins(f"{_AM}(?:originally )?from|i come from|i was born in|i grew up in")
WORKS_AT = _begins(f"{_I}work (?:at|for)")
WORKS_AS = _begins(f"{_I}work as")
LIKES = _begins(f"{_I}(?:like|love|enjoy|adore)|{_AM}(?:a (?:big |huge )?fan of|fond of)")
DISLIKES = _begins(
    f"{_I}(?:hate|dislike|detest|can't stand|cannot stand)|i (?:really )?(?:don't|do not) (?:really )?(?:like|enjoy)"
)
PREFERS = _begins(f"{_I}prefer")
ALLERGIC_TO = _begins(f"{_AM}allergic to")
DIET = _pattern(
    f"{_AM}(?:an? )?(?:strict )?"
    r"(vegetarian|vegan|pescatarian|celiac|coeliac|diabetic|(?:lactose|gluten)[ -]intolerant)"
    r"\b(?![ -](?:friendly|options?|restaurants?|curious|food|dish|menu))"
)
_KIN = (
    "wife|husband|partner|girlfriend|boyfriend|fianc[ée]e?|daughter|son|mother|father|mum|mom|dad|sister|brother"
    "|grandmother|grandfather|grandson|granddaughter|aunt|uncle|cousin|niece|nephew|friend|boss|neighbou?r"
    "|dog|cat|horse|doctor|dentist"
)
RELATION = _pattern(
    rf"\bmy (?P<kin>{_KIN})(?P<is>'s name is|'s called| is called| is named| called| named|)(?: now)?"
    r" (?P<rest>.{1,100})"
)
_OCCASION = "(?:appointment|meeting|reservation|booking|interview|check-?up|flight|surgery|operation)"
APPOINTMENT = _pattern(
    rf"(?:i have|i've|i've got|i have got|we have) (?P<what>an? (?:\w{{1,20}} ){{0,2}}{_OCCASION}\b.{{3,200}})"
    rf"|my (?P<mine>(?:\w{{1,20}} ){{0,1}}{_OCCASION}) is (?:now )?"
    r"(?P<when>(?:on|at|in|next|tomorrow|today|this)\b.{0,200})"
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
DAY = _pattern(rf"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|(?:{_MONTHS})(?= \d|$))\b")
"""A month only before a number or at the end: May and April are names as well."""
CALLED_OFF = _pattern(r"\b(?:(?:cancel|reschedul|postpon)|(?:can't|cannot|won't) (?:make|come))")
WHEN = _pattern(
    rf"{DAY.pattern}|\b(?:today|tonight|tomorrow|next (?:week|month|year)|noon)\b"
    r"|\b(?:at|on|the) (?:the )?\d|\d(?:st|nd|rd|th) of\b"
)
OR = _pattern(" or ")
NO_ITEM = _pattern(
    r"(?:i|i'm|i've|i'd|we|my|he|she|it|they|you|the|that|then|please|can|could|would|will|have|am|is|was|not|don't"
    r"|hate|love|like|enjoy|prefer|need|want|live|work|take|think|thank|thanks|maybe|also)\b"
)
"""What no further item of a list begins with."""
FROM_THE_AGENTS_SIDE = tuple(
    (_pattern(rf"\b{word}\b"), other)
    for word, other in (("my", "their"), ("our", "their"), ("your", "our"), ("you", "us"))
)

# The name

NAME = _begins("my (?:full |first )?name is|my name's")
CALL_ME = _begins("(?:(?:you can|you may|everybody|everyone|just) )?calls? me|i am called|i'm called|i go by")
THIS_IS = _begins("this is")
CALLING = _pattern(r"(?:speaking|calling|here|again|from)\b")
NO_PERSON = _pattern(
    r"\b(?:bank|insurance|support|sales|team|office|company|hotel|inc|ltd|gmbh"
    r"|bad|news|service|absolutely|ridiculous|unacceptable|urgent)\b"
)

# Preferences

_LANGUAGES = (
    "english|german|french|spanish|portuguese|italian|dutch|danish|swedish|norwegian|finnish|polish|czech|hungarian"
    "|romanian|russian|ukrainian|turkish|greek|arabic|hebrew|persian|hindi|urdu|bengali|tamil|chinese|mandarin"
    "|cantonese|japanese|korean|vietnamese|thai|indonesian|swahili|catalan|croatian|serbian"
)
_COULD_YOU = "(?:(?:can|could|would) you )?(?:please )?"
LANGUAGE = _is_all(
    "(?:(?:can|could|may) (?:we|i|you) (?:please )?(?:speak|talk|switch|continue)"
    "|(?:i'd|i would) (?:rather|prefer to) (?:speak|talk)|i (?:would )?prefer(?: to (?:speak|talk))?|i'd prefer"
    f"|let's (?:speak|talk|switch)|please speak)(?: in| to)? (?P<language>{_LANGUAGES})"
)
CONTACT = _is_all(
    "(?:i prefer|i would prefer|i'd prefer)(?: to be contacted by| being contacted by| contact by)?(?: an?)? "
    "(?P<way>e-?mails?|text(?: message)?s?|sms|phone(?: call)?s?|whatsapp|letters?|post)"
    f"|{_COULD_YOU}(?P<verb>e-?mail|text|whatsapp) me instead(?: of calling)?"
)
CALL_AFTER = _is_all(
    f"(?:you can |only |always |{_COULD_YOU})(?:call|phone|ring) me (?:only )?"
    r"(?P<when>(?:after|before) \d{1,2}(?:[:.]\d\d)?(?: ?[ap]\.?m\b\.?| o'clock)?)"
)
SLOWLY = _is_all(f"{_COULD_YOU}(?:speak|talk) (?:a (?:bit|little) )?(?:more slowly|slowly|slower)")
LOUDER = _is_all(f"{_COULD_YOU}(?:speak|talk) (?:a (?:bit|little) )?(?:louder|more loudly|up)")
