"""What a network may be called in C: its name begins its files, functions and macros."""

import re

from pruning.errors import DeployError

DEFAULT = "model"
LONGEST = 24  # of the 31 letters by which C99 tells names apart, without "_output"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
KEYWORDS = _words("""
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t
    char32_t char8_t class co_await co_return co_yield compl concept const const_cast consteval
    constexpr constinit continue decltype default delete do double dynamic_cast else enum
    explicit export extern false float for friend goto if inline int long mutable namespace new
    noexcept not not_eq nullptr operator or or_eq private protected public register
    reinterpret_cast requires restrict return short signed sizeof static static_assert
    static_cast struct switch template this thread_local throw true try typedef typeid typename
    typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor
    xor_eq
""")
# Their headers would be found instead of C's own; or other files of the folder are called so.
FILES = _words("""
    assert complex ctype errno fenv float inttypes iso646 limits locale math memory setjmp
    signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string
    tgmath threads time uchar wchar wctype kernels main paring
""")
# Targets of CMake's own, and others of the folder.
TARGETS = _words("""
    all clean edit_cache example help install package package_source paring_kernels
    rebuild_cache test
""")


def checked_c_name(name: object) -> str:
    """The name, if files, functions and macros of C can begin with it.

    Raises:
        DeployError: they cannot, or would clash with others.
    """
    if not isinstance(name, str) or len(name) > LONGEST or not PLAIN.fullmatch(name):
        reason = f"use 1 to {LONGEST} letters, digits and '_', beginning with a letter"
    elif "__" in f"{name}_":
        reason = "C++ keeps names with '__' to itself"
    elif name in KEYWORDS:
        reason = "a keyword of C or C++"
    elif name.lower() in FILES | TARGETS:
        reason = "files or targets of CMake have this name"
    else:
        return name
    raise DeployError(f"name={name}: {reason}; write another, such as {DEFAULT} or kws")
