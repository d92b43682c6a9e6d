"""The asset of a table: what Rowledger says of it, what a translator makes of that, and what is given for one table."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import dagster as dg

from rowledger.dagster.table_metadata import column_lineage, table_metadata
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
    """What a translator makes an asset of. `database` is the name of the table's database, where it is known."""

    spec: TableSpec
    partitions_def: dg.PartitionsDefinition | None
    database: str | None = None


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
            description=spec.description
            or inspect.cleandoc(spec.row.__doc__ or "")
            or f"Guarded load into {spec.target}.",
            metadata=table_metadata(spec, data.database),
            kinds={"postgres"},
            partitions_def=data.partitions_def,
        )


def asset_spec(
    spec: TableSpec,
    partitions_def: dg.PartitionsDefinition | None,
    translator: RowledgerTranslator,
    attributes: AssetAttributes,
    database: str | None = None,
) -> dg.AssetSpec:
    """The asset of a table, by the translator and then by the attributes that are given for this table."""
    translated = translator.get_asset_spec(RowledgerTranslatorData(spec, partitions_def, database))
    # The keys of a run, the partitions of its rows and the asset must agree on one definition.
    asset = with_attributes(translated.replace_attributes(partitions_def=partitions_def), attributes)
    known = dict(_metadata_of(attributes.get("deps") or ()))
    lineage = column_lineage(spec, {dep.asset_key: known.get(dep.asset_key, {}) for dep in asset.deps})
    return asset.replace_attributes(metadata={**lineage, **asset.metadata})


def _metadata_of(deps: Iterable[Any]) -> Iterator[tuple[dg.AssetKey, Mapping[str, Any]]]:
    """The metadata of the assets among these dependencies; of a key alone nothing is known."""
    for dep in deps:
        for found in dep.specs if isinstance(dep, dg.AssetsDefinition) else [dep]:
            if isinstance(found, dg.AssetSpec):
                yield found.key, found.metadata


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
