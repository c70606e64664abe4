"""Phone numbers -> E.164, by `phonenumbers`, which takes 25 to 40 microseconds a number.

Nearly all numbers are North American ones in a handful of spellings; those are recognised here in half a microsecond.
The short cut only ever takes what the library takes, with the same result; everything else goes to the library.
"""

import re
from typing import Final

import phonenumbers

from router.core.intake.refusal import Wrong

_AREA_CODES_TEXT: Final = """
201 202 203 204 205 206 207 208 209 210 212 213 214 215 216 217 218 219 220 223 224 225 226 227 228 229 231 234 235
236 239 240 248 249 250 251 252 253 254 256 257 260 262 263 267 269 270 272 273 274 276 279 281 283 289 301 302 303
304 305 306 307 308 309 310 312 313 314 315 316 317 318 319 320 321 323 324 325 326 327 329 330 331 332 334 336 337
339 341 343 346 347 350 351 352 353 354 360 361 363 364 365 367 368 369 380 382 385 386 401 402 403 404 405 406 407
408 409 410 412 413 414 415 416 417 418 419 423 424 425 428 430 431 432 434 435 437 438 440 442 443 445 447 448 450
458 463 464 468 469 470 472 474 475 478 479 480 484 501 502 503 504 505 506 507 508 509 510 512 513 514 515 516 517
518 519 520 530 531 534 539 540 541 548 551 557 559 561 562 563 564 567 570 571 572 573 574 575 579 580 581 582 584
585 586 587 601 602 603 604 605 606 607 608 609 610 612 613 614 615 616 617 618 619 620 623 626 628 629 630 631 636
639 640 641 645 646 647 650 651 656 657 659 660 661 662 667 669 672 678 680 681 682 683 686 689 701 702 703 704 705
706 707 708 709 712 713 714 715 716 717 718 719 720 724 725 726 727 728 730 731 732 734 737 738 740 742 743 747 748
753 754 757 760 762 763 765 769 770 771 772 773 774 775 778 779 780 781 782 785 786 801 802 803 804 805 806 807 808
810 812 813 814 815 816 817 818 819 820 821 825 826 828 830 831 832 835 838 839 840 843 845 847 848 850 854 856 857
858 859 860 862 863 864 865 867 870 872 873 878 879 901 902 903 904 905 906 907 908 909 910 912 913 914 915 916 917
918 919 920 925 928 929 930 931 934 936 937 938 940 941 942 943 945 947 948 949 951 952 954 956 959 970 971 972 973
975 978 979 980 984 985 986 989
"""
#: US and Canadian area codes under which every number from 200-0000 to 999-9999 is valid to the library.
_AREA_CODES: Final = frozenset(_AREA_CODES_TEXT.split())
_NATIONAL: Final = re.compile(r"(?:\+?1[-. ]?)?\(?([2-9]\d\d)\)?[-. ]?([2-9]\d\d)[-. ]?(\d{4})", re.ASCII)
_INTERNATIONAL: Final = re.compile(r"\+1[-. ]?\(?([2-9]\d\d)\)?[-. ]?([2-9]\d\d)[-. ]?(\d{4})", re.ASCII)
_NORTH_AMERICA: Final = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])
_LENGTH_MAX: Final = 100


def read_phone(text: str, country: str) -> str:
    """A phone number -> E.164; `country` (alpha-2) is assumed where the number names none. Raises Wrong."""
    match = (_NATIONAL if country in _NORTH_AMERICA else _INTERNATIONAL).fullmatch(text)
    if match is not None:
        area, exchange, line = match.groups()
        if area in _AREA_CODES:
            return f"+1{area}{exchange}{line}"
    return read_phone_slowly(text, country)


def read_phone_slowly(text: str, country: str) -> str:
    """The same by the library alone, which judges everything but letters."""
    if len(text) > _LENGTH_MAX:
        raise Wrong("too_long", "is too long for a phone number")
    if any(letter.isalpha() for letter in text.removeprefix("tel:")):
        # The library would cut away "n/a: " and dial "CALL": good for a keypad, not for a consumer's number.
        raise Wrong("invalid", "has letters or an extension, which a lead's number may not")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise Wrong("invalid", "is not a phone number") from None
    if number.extension:
        raise Wrong("invalid", "has letters or an extension, which a lead's number may not")
    if not phonenumbers.is_valid_number(number):
        raise Wrong("invalid", "is not a phone number in use")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
