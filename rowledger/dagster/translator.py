"""The asset of a table: what Rowledger says of it, what a translator makes of that, and what is given for one table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import dagster as dg

from rowledger.dagster.metadata import table_metadata
from rowledger.spec import TableSpec

__all__ = [
    "AssetAttributes",
    "AttributesBesideKey",
    "RowledgerTranslator",
    "RowledgerTranslatorData",
    "asset_spec",
    "with_attributes",
]


class AttributesBesideKey(TypedDict, total=False):
    """What an asset can be given besides its key and its partitions, each with the meaning that it has in `dg.AssetSpec`.

    `group_name`, `owners`, `description`, `code_version`, `automation_condition` and `freshness_policy` replace what the
    translator says. `key_prefix` goes before the key. `deps`, `tags`, `kinds` and `metadata` are added to it.
    """

    key_prefix: str | Sequence[str] | None
    group_name: str | None
    owners: Sequence[str] | None
    tags: Mapping[str, str] | None
    kinds: Iterable[str] | None
    deps: Iterable[Any] | None  # whatever Dagster takes as a dependency: keys, assets, dg.AssetDep
    code_version: str | None
    description: str | None
    metadata: Mapping[str, Any] | None
    automation_condition: dg.AutomationCondition[Any] | None
    freshness_policy: dg.FreshnessPolicy | None


class AssetAttributes(AttributesBesideKey, total=False):
    """The same with the asset's key, which replaces what the translator says."""

    key: dg.AssetKey | str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class RowledgerTranslatorData:
    """What a translator makes an asset of."""

    spec: TableSpec
    partitions_def: dg.PartitionsDefinition | None


class RowledgerTranslator:
    """Turns table specs into asset specs. Subclass it to give a whole family of tables its keys, groups or owners.

    ::

        class Warehouse(RowledgerTranslator):
            def get_asset_spec(self, data):
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(key=spec.key.with_prefix("warehouse"), group_name="warehouse")
    """

    def get_asset_spec(self, data: RowledgerTranslatorData) -> dg.AssetSpec:
        """The asset of one table. What `build_table_defs` is given for that table comes on top."""
        spec = data.spec
        return dg.AssetSpec(
            spec.name,
            deps=spec.upstream,
            description=spec.description or spec.row.__doc__ or f"Guarded load into {spec.target}.",
            metadata=table_metadata(spec),
            kinds={"postgres"},
            partitions_def=data.partitions_def,
        )


def asset_spec(
    spec: TableSpec,
    partitions_def: dg.PartitionsDefinition | None,
    translator: RowledgerTranslator,
    attributes: AssetAttributes,
) -> dg.AssetSpec:
    """The asset of a table, by the translator and then by the attributes that are given for this table."""
    translated = translator.get_asset_spec(RowledgerTranslatorData(spec, partitions_def))
    # The keys of a run, the partitions of its rows and the asset must agree on one definition.
    return with_attributes(translated.replace_attributes(partitions_def=partitions_def), attributes)


def with_attributes(asset: dg.AssetSpec, attributes: AssetAttributes) -> dg.AssetSpec:
    """The asset with the given attributes; one that is None counts as not given."""
    given: dict[str, Any] = {name: value for name, value in attributes.items() if value is not None}
    key = dg.AssetKey.from_coercible(given.pop("key", asset.key))
    if prefix := given.pop("key_prefix", None):
        key = key.with_prefix(prefix)
    if deps := given.pop("deps", None):
        # One that is named again, such as with a partition mapping, replaces its namesake.
        both = (*asset.deps, *dg.AssetSpec(key, deps=deps).deps)
        given["deps"] = list({dep.asset_key: dep for dep in both}.values())
    added = {name: given.pop(name) for name in ("tags", "metadata") if name in given}
    kinds = set(given.pop("kinds", ()))
    return asset.replace_attributes(key=key, **given).merge_attributes(kinds=kinds, **added)
