"""What to do about columns of a source that no field reads, and fields whose column the source lacks."""

import unicodedata
from collections.abc import Sequence

from pydantic import BaseModel

from rowledger.contract.rules import FieldRules
from rowledger.spec import DECLARATION

__all__ = ["bare_name", "told_unmatched"]

_SHOWN_MAX = 5


def told_unmatched(
    row: type[BaseModel], rules: Sequence[FieldRules], unknown: Sequence[str], missing: Sequence[str]
) -> str:
    """Unknown and missing columns of a source, and the remedies; a field and a column of nearly the same name are paired."""
    is_declared = DECLARATION in vars(row)
    told = [f"has columns that {row.__name__} does not know: {list(unknown)}"] if unknown else []
    told += [f"lacks columns of {row.__name__}: {list(missing)}"] if missing else []
    pairs = _pairs([rule for rule in rules if rule.sources[0] in missing], unknown)
    pairing = _declared_pairing if is_declared else _pairing
    remedies = [pairing(rule, name) for rule, name in pairs[:_SHOWN_MAX]]
    if more := len(pairs) - len(remedies):
        remedies.append(f"and so for {more} more")
    left = len(unknown) - len(pairs), len(missing) - len(pairs)
    if all(left):
        remedies.append(
            "where a column has another name in the source, give it that name as its `source`"
            if is_declared
            else "where a field reads a column of another name, give it that name: Field(alias='name in the source')"
        )
    if left[0]:
        remedies.append(
            f"add {'the others' if pairs else 'them'} to the {'columns' if is_declared else 'row model'}, leave them out of "
            "the source, or say in the spec's `drift` what shall become of them"
        )
    if left[1]:
        remedies.append(
            "give a column that the source may lack a `default` (with `nullable: true` it may be null), or fix the source"
            if is_declared
            else "give a field whose column the source may lack a default (= None takes nulls), or fix the source"
        )
    return f"the source {', and '.join(told)}; {'; '.join(remedies)}"


def bare_name(name: str) -> str:
    """The name without case, accents, blanks and signs."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", name).casefold() if sign.isalnum())


def _pairs(rules: Sequence[FieldRules], unknown: Sequence[str]) -> list[tuple[FieldRules, str]]:
    by_form: dict[str, list[str]] = {}
    for name in unknown:
        by_form.setdefault(bare_name(name), []).append(name)
    pairs: list[tuple[FieldRules, str]] = []
    for rule in rules:
        for form in dict.fromkeys(map(bare_name, (rule.field, rule.name, *rule.sources))):
            if form and (names := by_form.get(form)):
                pairs.append((rule, names.pop(0)))
                break
    return pairs


def _pairing(rule: FieldRules, name: str) -> str:
    if name in (rule.field, rule.name):
        return (
            f"field {rule.field} reads {rule.sources[0]!r} because of its alias: remove the alias, or set "
            "populate_by_name=True in model_config, to read both names"
        )
    return f"give field {rule.field} the source's name: Field(alias={name!r})"


def _declared_pairing(rule: FieldRules, name: str) -> str:
    if name == rule.name:
        return f"column {rule.name} reads {rule.sources[0]!r}, which is its `source`: correct it, or remove it"
    return f"give column {rule.name} the source's name: `source: {name}`"
