"""The rules of a decision, one function each, as a reader of SPEC section 3 would say them.

`static` rules depend on lead and terms alone; `standing` rules on the contract's own state at a moment; `history` on
both. These functions are the truth: the bit masks of `core.index` are held to the static ones by a property test, and
the standing ones are what the masks remember the answers of. A "no" is a value: `Finding(code, expected, actual)`.
"""

from router.core.rules.finding import Finding

__all__ = ["Finding"]
