"""A query's words as a tree, by recursive descent.

    or   = and { "or" and }
    and  = not { "and" not }
    not  = "not" not | "(" or ")" | ( "any" | "all" ) "(" or ")" | test
    test = operand [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~" | "like" | "not like" ) operand
                   | [ "not" ] "in" ( "(" value { "," value } ")" | field )
                   | "is" [ "not" ] ( "null" | "unknown" ) ]
    operand = field | value | "count" "(" or ")"
    field = name "." [ "@" ] name

Depth is bounded, so no text exhausts the stack.
"""

from __future__ import annotations

from rmm.core.query.tree import (
    And,
    Compare,
    Condition,
    Count,
    Has,
    In,
    Literal,
    Not,
    Null,
    Operand,
    Or,
    Ref,
    Some,
    Truth,
)
from rmm.core.query.words import Word, words_of
from rmm.errors import QueryError

MOST_DEPTH = 40
_COMPARISONS = {"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "~": "like", "like": "like"}
_VALUES = ("number", "text", "time")


def parse(text: str) -> Condition:
    """The tree of a query. Raises QueryError with the column of what is wrong."""
    return _Parser(text).whole()


def parse_ref(text: str) -> Ref:
    """The tree of a bare `collector.field`, or of a collector alone (then the field is empty)."""
    parser = _Parser(text)
    name = parser.take("name", "a field, such as volumes.used_pct")
    if parser.word.kind == "end":
        return Ref(name.text, "", name.column)
    ref = parser.ref(name)
    parser.end()
    return ref


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words_of(text)
        self._at = 0
        self._depth = 0

    @property
    def word(self) -> Word:
        return self._words[self._at]

    def whole(self) -> Condition:
        if self.word.kind == "end":
            raise QueryError('the query is empty; write a condition, such as endpoint.site == "hq"')
        condition = self._either()
        self.end()
        return condition

    def end(self) -> None:
        if self.word.kind != "end":
            raise self._wrong("`and`, `or`, or the end")

    def _wrong(self, wanted: str) -> QueryError:
        word = self.word
        found = "the query ends" if word.kind == "end" else f"{word.text!r} is"
        return QueryError(f"{found} where {wanted} should be", self._text, word.column)

    def _is(self, *texts: str) -> bool:
        return self.word.kind in ("sign", "keyword") and self.word.text in texts

    def _next(self) -> Word:
        word = self.word
        self._at += 1
        return word

    def _skip(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def take(self, kind: str, wanted: str, text: str = "") -> Word:
        if self.word.kind != kind or (text and self.word.text != text):
            raise self._wrong(wanted)
        return self._next()

    def _either(self) -> Condition:
        items = [self._both()]
        while self._skip("or"):
            items.append(self._both())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _both(self) -> Condition:
        items = [self._negated()]
        while self._skip("and"):
            items.append(self._negated())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _negated(self) -> Condition:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise QueryError(f"more than {MOST_DEPTH} levels", self._text, self.word.column)
        try:
            if self._skip("not"):
                return Not(self._negated())
            if self._skip("("):
                inner = self._either()
                self.take("sign", "a closing parenthesis", ")")
                return inner
            if self._calls("any", "all"):
                word = self._next()
                return Some(word.text, self._called(), word.column)
            return self._test()
        finally:
            self._depth -= 1

    def _calls(self, *names: str) -> bool:
        following = self._words[min(self._at + 1, len(self._words) - 1)]
        return self.word.kind == "name" and self.word.text in names and following.text == "("

    def _called(self) -> Condition:
        self.take("sign", "an opening parenthesis", "(")
        condition = self._either()
        self.take("sign", "a closing parenthesis", ")")
        return condition

    def _test(self) -> Condition:
        left = self._operand()
        column = self.word.column
        if self._skip("is"):
            denied = self._skip("not")
            if not (self._skip("null") or self._skip("unknown")):
                raise self._wrong("`null`")
            return Not(Null(left, column)) if denied else Null(left, column)
        if self._skip("!~"):
            return Not(Compare("like", left, self._operand(), column))
        denied = self._skip("not")
        if self._skip("in"):
            test = self._member(left, column)
        elif self._is("like") or (not denied and self._is(*_COMPARISONS)):
            test = self._comparison(left, column)
        elif denied:
            raise self._wrong("`in` or `like`")
        else:
            test = Truth(left, column)
        return Not(test) if denied else test

    def _comparison(self, left: Operand, column: int) -> Condition:
        op = _COMPARISONS[self._next().text]
        if op in ("==", "!=") and (self._skip("null") or self._skip("unknown")):
            return Null(left, column) if op == "==" else Not(Null(left, column))
        return Compare(op, left, self._operand(), column)

    def _member(self, left: Operand, column: int) -> Condition:
        if not self._skip("("):
            return Has(left, self.ref(self.take("name", "a list in parentheses")), column)
        items = [self._literal()]
        while self._skip(","):
            items.append(self._literal())
        self.take("sign", "a comma or a closing parenthesis", ")")
        return In(left, tuple(items), column)

    def _operand(self) -> Operand:
        if self._calls("count"):
            column = self._next().column
            return Count(self._called(), column)
        if self.word.kind == "name":
            return self.ref(self._next())
        return self._literal()

    def ref(self, name: Word) -> Ref:
        """The rest of a field whose first name was taken."""
        if not self._skip("."):
            if self._is("("):
                raise QueryError(f"there is no {name.text}(); there are any, all and count", self._text, name.column)
            reason = f'{name.value} is neither a field (collector.field) nor a text ("{name.value}" in quotes)'
            raise QueryError(reason, self._text, name.column)
        mark = "@" if self._skip("@") else ""
        # A field may have the name of a keyword.
        if self.word.kind == "keyword":
            return Ref(name.text, mark + self._next().text, name.column)
        return Ref(name.text, mark + self.take("name", "the name of a field").text, name.column)

    def _literal(self) -> Literal:
        word = self.word
        if self._is("true", "false"):
            return Literal(self._next().text == "true", column=word.column)
        if self._skip("now"):
            return Literal(0, "now", True, word.column)
        if self._is("-", "+"):
            sign = self._next()
            number = self.take("number", "a number")
            assert isinstance(number.value, int | float)
            return Literal(-number.value if sign.text == "-" else number.value, number.unit, True, sign.column)
        if word.kind not in _VALUES:
            raise self._wrong("a value")
        return Literal(self._next().value, word.unit, column=word.column)
